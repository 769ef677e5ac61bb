"""The target of a dependency, in each shape of bd's table."""

from __future__ import annotations

import pytest

from dolt_watch.beads.schema import target_expression


@pytest.mark.parametrize(
    ("columns", "prefix", "expression"),
    [
        (["issue_id"], "", ""),
        (["issue_id", "depends_on_id"], "d.", "d.depends_on_id"),
        (
            ["depends_on_wisp_id", "depends_on_issue_id"],
            "",
            "COALESCE(depends_on_issue_id, depends_on_wisp_id)",
        ),
    ],
)
def test_the_first_column_that_holds_one(columns: list[str], prefix: str, expression: str) -> None:
    assert target_expression(columns, prefix) == expression
