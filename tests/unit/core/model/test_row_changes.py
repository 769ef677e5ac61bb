"""Row changes that change nothing."""

from __future__ import annotations

import pytest

from dolt_watch.core.model import RowChange, RuleAnswers

STILL = RuleAnswers(matched=True, matches=True, was_running=False, runs=False)


@pytest.mark.parametrize(
    ("row", "nothing"),
    [
        (RowChange("issues", "a", "modified"), True),
        (
            RowChange("issues", "a", "modified", answers=(RuleAnswers(True, True, False, False),)),
            True,
        ),
        (RowChange("issues", "a", "modified", ("title",)), False),
        (RowChange("issues", "a", "added"), False),
        (
            RowChange("issues", "a", "modified", answers=(RuleAnswers(False, True, False, False),)),
            False,
        ),
    ],
)
def test_a_row_that_was_only_stored_anew(row: RowChange, nothing: bool) -> None:
    assert row.nothing is nothing
