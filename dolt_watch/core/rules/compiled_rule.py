"""A compiled rule: SQL with which the database itself decides whether a row matched before and
after.

Compiled text is cached in a row of the database, so this module must not import sqlglot.
``compile_rule`` imports it when it is called.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from dolt_watch.core.model import IN_PROGRESS, OPEN, Rule
from dolt_watch.errors import RuleError

CLAIMED_CELLS = ("status", "notes")
"""Cells that a claim changes. A check whether the bead would still match uses their old values."""


class Conjunct(NamedTuple):
    """One of the conditions that AND joins in a rule's ``when``. Each can be evaluated for a
    bead.
    """

    text: str
    """The condition as users read it."""
    sql: str
    """The condition over the row, in MySQL's dialect for any engine: for ``Engine.query``."""
    columns: tuple[str, ...]
    """The columns of the condition, sorted."""


class CompiledRule(NamedTuple):
    """A rule's expressions in an engine's own dialect.

    Boolean expressions are in parentheses, so they can be joined with AND.
    """

    rule: str
    when_from: str
    """Over ``from_<column>``, the names in the diff tables. ``_to`` is over ``to_<column>``,
    ``_row`` over the row itself.
    """
    when_to: str
    when_row: str
    running_from: str
    running_to: str
    running_row: str
    rank_to: tuple[str, ...]
    """One expression for each key of ``order_by``."""
    rank_row: tuple[str, ...]
    descending: tuple[bool, ...]
    columns: tuple[str, ...]
    """Columns of ``issues`` that the rule uses, sorted."""
    when_before_claim: str
    """``when`` over the row, with a ``?`` for each use of the columns that a claim changes."""
    put_back: tuple[str, ...]
    """The columns of these ``?``, in order of appearance."""
    parts: tuple[Conjunct, ...]
    """The conditions of ``when``, in order."""

    def to_json(self) -> dict[str, Any]:
        return {
            **self._asdict(),
            "parts": [tuple(part) for part in self.parts],
        }  # orjson can't encode subclasses of tuple.

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "CompiledRule":
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in stored.items()
        }
        values["parts"] = tuple(
            Conjunct(text, sql, tuple(columns)) for text, sql, columns in values["parts"]
        )
        return cls(**values)


def compile_rule(rule: Rule, columns: Mapping[str, str], dialect: str) -> CompiledRule:
    """Return the compiled rule.

    Args:
        rule: The rule.
        columns: Name to SQL type of the columns of ``issues``.
        dialect: 'mysql' or 'sqlite'.

    Raises:
        RuleError: An expression can't be used.
    """
    # sqlglot takes a tenth of a second to import, and most ticks don't need it.
    from dolt_watch.core.rules import parser as sql
    from dolt_watch.core.rules import renderer
    from dolt_watch.core.rules.running_condition import columns_of, conjuncts, derive_running

    if dialect not in ("mysql", "sqlite"):
        raise ValueError(f"Unknown dialect: {dialect!r}")
    where = f"rules.{rule.name}"
    try:
        when = sql.Expression(f"{where}.when", rule.when, columns).parse_condition()
        # Without `running`, it follows from `when`: the same beads, with the status in_progress.
        if rule.running.strip():
            running = sql.Expression(f"{where}.running", rule.running, columns).parse_condition()
        elif "status" in sql.names(columns):
            running = derive_running(when, IN_PROGRESS, OPEN)
        else:
            raise RuleError(
                'The table issues has no column status, so "running" can\'t be derived.',
                where=f"{where}.running",
                fix=f"Set `running` in [{where}].",
            )
        # The order of the queue is compiled with the rule: the feed reads it with each row.
        keys = sql.Expression(f"{where}.order_by", rule.order_by, columns).parse_order_by()
        ranks = [key for key, _ in keys]

        def text(tree: Any, prefix: str) -> str:
            return f"({renderer.render(tree, dialect, prefix)})"

        used = set().union(*(columns_of(tree) for tree in (when, running, *ranks)))
        # The claim checks `when` on a row that it has changed itself: those cells are put back.
        marked, put_back = renderer.render_with_placeholders(when, dialect, CLAIMED_CELLS)
        return CompiledRule(
            rule=rule.name,
            when_from=text(when, "from_"),
            when_to=text(when, "to_"),
            when_row=text(when, ""),
            running_from=text(running, "from_"),
            running_to=text(running, "to_"),
            running_row=text(running, ""),
            rank_to=tuple(renderer.render(key, dialect, "to_") for key in ranks),
            rank_row=tuple(renderer.render(key, dialect, "") for key in ranks),
            descending=tuple(down for _, down in keys),
            columns=tuple(sorted(used)),
            when_before_claim=f"({marked})",
            put_back=put_back,
            parts=tuple(
                Conjunct(
                    one.sql(dialect="mysql", comments=False),
                    f"({renderer.render(one, 'mysql', '')})",
                    tuple(sorted(columns_of(one))),
                )
                for one in conjuncts(when)
            ),
        )
    except RecursionError:
        raise RuleError(
            "The expression is too long or nested too deeply.",
            where=where,
            fix="Write a chain of OR as `column IN (…)`, and remove unnecessary parentheses.",
        ) from None


def compile_for(rule: Rule, columns: Mapping[str, str], dialect: str) -> CompiledRule:
    """Return the compiled rule, with the expressions over the row itself in MySQL's dialect.

    ``Engine.query`` transpiles whole statements. Only the expressions for ``Engine.diff`` are in
    the engine's own dialect.
    """
    compiled = compile_rule(rule, columns, dialect)
    if dialect == "mysql":
        return compiled
    row = compile_rule(rule, columns, "mysql")
    return compiled._replace(
        when_row=row.when_row,
        running_row=row.running_row,
        rank_row=row.rank_row,
        when_before_claim=row.when_before_claim,
        put_back=row.put_back,
    )


def fingerprint(
    rules: Sequence[Rule], columns: Mapping[str, str], dialect: str, version: str
) -> str:
    """Return the key of the cache of compiled text.

    It changes with everything that can change the text.
    """
    texts = [(rule.name, rule.when, rule.running, rule.order_by) for rule in rules]
    key = orjson.dumps([version, CompiledRule._fields, dialect, sorted(columns.items()), texts])
    return hashlib.sha256(key).hexdigest()
