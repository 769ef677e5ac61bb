"""The separate conditions of a rule."""

from __future__ import annotations

import pytest

from dolt_watch.core.model import Rule
from dolt_watch.core.rules.compiled_rule import Conjunct, compile_rule
from dolt_watch.errors import RuleError

COLUMNS = {
    "id": "varchar(255)",
    "status": "varchar(32)",
    "assignee": "varchar(255)",
    "priority": "int",
    "updated_at": "datetime",
}


def parts(when: str) -> tuple[Conjunct, ...]:
    """Return the conditions of a rule.

    The conditions are the same for both engines, because each engine transpiles its queries.
    """
    mysql, sqlite = (
        compile_rule(Rule("agent", when=when), COLUMNS, dialect).parts
        for dialect in ("mysql", "sqlite")
    )
    assert mysql == sqlite
    return mysql


@pytest.mark.parametrize(
    ("when", "texts"),
    [
        ("status = 'open'", ["status = 'open'"]),
        (
            "status = 'open' AND priority < 2 AND assignee = 'agent'",
            ["status = 'open'", "priority < 2", "assignee = 'agent'"],
        ),
        (
            "assignee = 'agent' AND (status = 'open' AND priority < 2)",
            ["assignee = 'agent'", "status = 'open'", "priority < 2"],
        ),
        (
            "status = 'open' AND (priority = 0 OR assignee = 'agent')",
            ["status = 'open'", "priority = 0 OR assignee = 'agent'"],
        ),
        ("NOT (status = 'open' AND priority = 1)", ["NOT (status = 'open' AND priority = 1)"]),
    ],
)
def test_what_and_joins(when: str, texts: list[str]) -> None:
    assert [part.text for part in parts(when)] == texts


def test_the_columns_of_each_and_sql_that_stands_by_itself() -> None:
    first, second = parts("LOWER(assignee) = 'agent' AND (priority = 0 OR status = 'open')")
    assert (first.columns, second.columns) == (("assignee",), ("priority", "status"))
    assert (first.sql, second.sql) == (
        "(LOWER(`assignee`) = 'agent')",
        "(`priority` = 0 OR `status` = 'open')",
    )


def test_as_mysql_writes_it_without_comments() -> None:
    (part,) = parts("`priority` = 1 /* why */")
    assert (part.text, part.sql) == ("`priority` = 1", "(`priority` = 1)")


def test_in_mysqls_words() -> None:
    (part,) = parts("assignee <=> status")
    assert (part.text, part.sql) == ("assignee <=> status", "(`assignee` <=> `status`)")


def test_what_is_refused_says_where() -> None:
    with pytest.raises(RuleError) as caught:
        parts("priority")
    assert str(caught.value.where).startswith("rules.agent.when, column 1:")
