"""The conditions that a rule is made of, one by one."""

from __future__ import annotations

import pytest

from dolt_watch.core.parts import parts
from dolt_watch.errors import RuleError
from dolt_watch.model import Rule

COLUMNS = {"status": "varchar(32)", "assignee": "varchar(255)", "priority": "int", "acceptance_criteria": "text"}


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
    assert [part.text for part in parts(Rule("agent", when=when), COLUMNS)] == texts


def test_the_columns_of_each_and_sql_that_stands_by_itself() -> None:
    first, second = parts(
        Rule("agent", when="LOWER(assignee) = 'agent' AND (priority = 0 OR status = 'open')"), COLUMNS
    )
    assert (first.columns, second.columns) == (("assignee",), ("priority", "status"))
    assert (first.sql, second.sql) == ("(LOWER(`assignee`) = 'agent')", "(`priority` = 0 OR `status` = 'open')")


def test_as_mysql_writes_it_without_comments() -> None:
    (part,) = parts(Rule("agent", when="`priority` = 1 /* why */"), COLUMNS)
    assert (part.text, part.sql) == ("`priority` = 1", "(`priority` = 1)")


def test_what_is_refused_says_where() -> None:
    with pytest.raises(RuleError) as caught:
        parts(Rule("agent", when="priority"), COLUMNS)
    assert str(caught.value.where).startswith("rules.agent.when, column 1:")
