"""One bead as its own view shows it: what ``why`` reports, as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dolt_watch.inspection.report.series import seconds
from dolt_watch.inspection.why.conditions import RuleEvaluation
from dolt_watch.inspection.why.explanation import Explanation
from dolt_watch.inspection.why.timeline_text import describe_entry
from dolt_watch.sanitize import sanitize

LONGEST = 2000
"""Characters of one text."""


def view_of(found: Explanation) -> dict[str, Any]:
    """Return what ``dolt_watch why`` reports, life included."""
    return {
        **conditions_of(found.views),
        "notes": [sanitize(note, LONGEST) for note in found.stands.notes],
        "life": [
            [
                seconds(deed.commit.date),
                deed.commit.hash,
                sanitize(who),
                sanitize(text, LONGEST),
            ]
            for deed in found.deeds
            for who, text in describe_entry(deed)
        ],
    }


def conditions_of(views: Iterable[RuleEvaluation]) -> dict[str, Any]:
    """Return each rule's verdict and conditions."""
    return {
        "rules": [
            {
                "rule": one.rule,
                "verdict": sanitize(one.verdict, LONGEST),
                "held": sanitize(one.rule_held, LONGEST),
                "to_go": [sanitize(line, LONGEST) for line in one.to_go],
                "conditions": [
                    [sanitize(each.name, LONGEST), each.satisfied, sanitize(each.value, LONGEST)]
                    for each in one.conditions
                ],
            }
            for one in views
        ]
    }
