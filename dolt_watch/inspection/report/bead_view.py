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
        "verdict": sanitize(found.verdict, LONGEST),
        "notes": [sanitize(note, LONGEST) for note in found.snapshot.notes],
        "life": [
            [
                seconds(step.commit.date),
                step.commit.hash,
                sanitize(who),
                sanitize(text, LONGEST),
            ]
            for step in found.timeline
            for who, text in describe_entry(step)
        ],
    }


def conditions_of(views: Iterable[RuleEvaluation]) -> dict[str, Any]:
    """Return the verdict of the rule that the bead is in, and each rule's conditions."""
    views = tuple(views)
    deciding = next((one for one in views if one.matches), views[0] if views else None)
    return {
        "verdict": sanitize(deciding.verdict, LONGEST) if deciding is not None else "",
        "rules": [
            {
                "rule": one.rule,
                "matches": one.matches,
                "held": sanitize(one.rule_held, LONGEST),
                "to_go": [sanitize(line, LONGEST) for line in one.to_go],
                "conditions": [
                    [sanitize(each.name, LONGEST), each.satisfied, sanitize(each.value, LONGEST)]
                    for each in one.conditions
                ],
            }
            for one in views
        ],
    }
