"""The conditions that a rule is made of, one by one."""

from __future__ import annotations

import pytest

from dolt_watch.core.parts import parts
from dolt_watch.model import Rule

COLUMNS = {"status": "varchar(32)", "assignee": "varchar(255)", "priority": "int", "acceptance_criteria": "text"}


@pytest.mark.parametrize(
    ("when", "texts"),
    [
        ("status = 'open'", ["status = 'open'"]),
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
    assert second.sql.startswith("(") and second.sql.endswith(")")
