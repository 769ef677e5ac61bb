"""A bead's row as the rules see it with another status than the recorded one.

The recorded row has the cells that dolt_watch wrote: 'in_progress' by a claim, 'open' after a
refusal, 'blocked' by the reaper. In a simulation, these come at other times, or never. So each rule
is compiled once as it is and once for each such status, and the database evaluates all of them in
the query that reads the row changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from dolt_watch.core.model import (
    BLOCKED,
    CLOSED,
    IN_PROGRESS,
    OPEN,
    CommitChanges,
    RowChange,
    Rule,
    RuleAnswers,
    RuleMatch,
)
from dolt_watch.core.projection.event_deriver import rule_match
from dolt_watch.core.rules import parser, renderer
from dolt_watch.core.rules.compiled_rule import CompiledRule, compile_for
from dolt_watch.engines import Engine
from dolt_watch.engines.sql_text import chunks
from dolt_watch.engines.values import sort_value
from dolt_watch.history.change_feed import narrowed

STATUSES = (OPEN, IN_PROGRESS, BLOCKED, CLOSED)
"""Statuses that are evaluated with every row. Others are evaluated when they are needed."""
_CHUNK = 200


class RowView(NamedTuple):
    """A bead's row as one commit has it."""

    commit: str
    status: str
    facts: Mapping[str, RuleMatch]
    """By status; '' is the recorded one."""

    @property
    def matters(self) -> bool:
        return any(facts.matches or facts.runs for facts in self.facts.values())


class RowViewFactory:
    """The simulated rules, with every status."""

    def __init__(
        self,
        engine: Engine,
        rules: Sequence[Rule],
        compiled: Sequence[CompiledRule],
        columns: Mapping[str, str],
    ) -> None:
        self.engine, self.rules, self.plain, self.columns = engine, rules, compiled, columns
        self._as_if = {status: self._with(status) for status in STATUSES}
        self._last: dict[str, RowView] = {}
        self._clocks = [
            tuple(place for place, key in enumerate(one.rank_row) if key == "`updated_at`")
            for one in compiled
        ]

    @property
    def compiled(self) -> tuple[CompiledRule, ...]:
        """The rules to evaluate: each as it is, then all of them for each status."""
        return (*self.plain, *(rule for status in STATUSES for rule in self._as_if[status]))

    def of(self, row: RowChange, commit: str) -> RowView:
        """Return the view of a row, whose last answers are those to ``compiled``."""
        answers = row.answers[-len(self.compiled) :] if self.rules else ()
        view, last = self._view(commit, row, answers, STATUSES), self._last.get(row.bead)
        # Most edits leave a bead to the rules as it was: held once.
        if last is not None and last.facts == view.facts:
            view = view._replace(facts=last.facts)
        self._last[row.bead] = view
        return view

    def only_own_answers(self, changes: CommitChanges) -> CommitChanges:
        """Return the changes with the answers of these rules only."""
        return narrowed(changes, -len(self.compiled), len(self.rules))

    def at(
        self, commit: str, beads: Iterable[str], statuses: Sequence[str] = STATUSES
    ) -> dict[str, RowView]:
        """Return the rows of these beads as a commit has them."""
        # Each rule is evaluated on the row as it is, and as if it had each status: one query
        # answers all.
        blocks = [
            self.plain,
            *(self._as_if.setdefault(status, self._with(status)) for status in statuses),
        ]
        conditions = ", ".join(
            f"{one.when_row}, {one.running_row}" for block in blocks for one in block
        )
        ranks = [key for one in self.plain for key in one.rank_row]
        keys = "".join(f", {key}" for key in ranks)
        found: dict[str, RowView] = {}
        for chunk in chunks(beads, _CHUNK):
            marks = ", ".join("?" * len(chunk))
            sql = (
                f"SELECT id, status, {conditions}{keys} FROM issues AS OF '{commit}' WHERE id IN"
                f" ({marks})"
            )
            # The columns come back in the order of the blocks.
            for id, status, *values in self.engine.query(sql, chunk):
                first = len(values) - len(ranks)
                ranked = iter(sort_value(value) for value in values[first:])
                own = [tuple(next(ranked) for _ in one.rank_row) for one in self.plain]
                answers = [
                    RuleAnswers(False, bool(matches), False, bool(runs), own[number % len(own)])
                    for number, (matches, runs) in enumerate(
                        zip(values[:first:2], values[1:first:2], strict=True)
                    )
                ]
                row = RowChange("issues", id, "modified", after={"status": status})
                found[id] = self._view(commit, row, answers, statuses)
        return found

    def facts(self, bead: str, view: RowView, status: str, touched: datetime | None) -> RuleMatch:
        """Return the rules that the row matches with this status.

        ``touched``: when the simulation last wrote it; None: as recorded.
        """
        facts = view.facts.get("" if status == view.status else status)
        if facts is None:
            conditions = self.at(view.commit, [bead], [status]).get(bead)
            facts = conditions.facts[status] if conditions is not None else RuleMatch()
        if touched is None or not facts.matches:
            return facts
        number = next(place for place, rule in enumerate(self.rules) if rule.name == facts.matches)
        rank = list(facts.rank)
        for place in self._clocks[number]:
            rank[place] = _like(rank[place], touched)
        return facts._replace(rank=tuple(rank))

    def _view(
        self, commit: str, row: RowChange, answers: Sequence[RuleAnswers], statuses: Sequence[str]
    ) -> RowView:
        count = len(self.rules)
        own = answers[:count]
        facts = {"": rule_match(row._replace(answers=tuple(own)), self.rules)}
        for number, status in enumerate(statuses, start=1):
            block = answers[number * count : (number + 1) * count]
            ranked = tuple(
                one._replace(rank=mine.rank) for one, mine in zip(block, own, strict=True)
            )
            facts[status] = rule_match(row._replace(answers=ranked), self.rules)
        return RowView(commit, str(row.after.get("status", "")), facts)

    def _with(self, status: str) -> list[CompiledRule]:
        return [
            rule_with_status(rule, one, status, self.columns, self.engine.dialect)
            for rule, one in zip(self.rules, self.plain, strict=True)
        ]


def rule_with_status(
    rule: Rule, compiled: CompiledRule, status: str, columns: Mapping[str, str], dialect: str
) -> CompiledRule:
    """Return the rule with a value in place of the column ``status``, and without its queue order,
    which the rule itself has.
    """
    # Late: sqlglot is slow to import, and compiled rules are saved.
    from sqlglot import exp

    def put(node: Any) -> Any:
        is_status = isinstance(node, exp.Column) and node.name == "status"
        return exp.Literal.string(status) if is_status else node

    def text(row: str) -> str:
        tree = parser.Expression(f"rules.{rule.name}", row, columns).parse_condition()
        return renderer.render(tree.transform(put), "mysql", "")

    when, running = text(compiled.when_row), text(compiled.running_row)
    changed = compile_for(replace(rule, when=when, running=running, order_by=""), columns, dialect)
    return changed._replace(when_from="0", running_from="0")  # How it was before is not asked.


def _like(recorded: Any, moment: datetime) -> Any:
    """Return the time in the form of this engine's rows, so that both sort together."""
    second = moment.astimezone(UTC).replace(microsecond=0)
    return second.isoformat() if "T" in str(recorded) else second.strftime("%Y-%m-%d %H:%M:%S")
