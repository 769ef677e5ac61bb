"""The data of the what-if page: the output of ``replay`` with charts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, NamedTuple

from dolt_watch.config.converters import duration_text
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model.rule import Rule
from dolt_watch.inspection.report import series
from dolt_watch.replay.simulation import formatter
from dolt_watch.replay.simulation.what_if import WhatIfResult
from dolt_watch.sanitize import sanitize

LONGEST = 100_000
"""Maximum length in characters of a text from the database."""


class Compared(NamedTuple):
    """A what-if result, and the titles of the beads that it mentions."""

    study: WhatIfResult
    titles: Mapping[str, str]


class ChangedSetting(NamedTuple):
    """A setting that differs from its recorded value."""

    key: str
    recorded: str
    what_if: str


class Chart(NamedTuple):
    """A number over time: recorded and simulated."""

    columns: list[list[Any]]
    """Times in seconds, the recorded values, and the simulated values."""
    peaks: tuple[int, int]


def mentioned_beads(study: WhatIfResult) -> set[str]:
    """Return the IDs of the beads on the page."""
    return {*(pair.bead for pair in study.pairs if pair.difference is not None), *study.waiting}


def page_context(compared: Compared) -> dict[str, Any]:
    study = compared.study
    begins, ends = study.question.begins, study.question.ends
    waiting, running = _chart(study, "waiting"), _chart(study, "under_way")
    return {
        "begins": begins,
        "ends": ends,
        "span": ends.date - begins.date,
        "commits": study.commits,
        "every": duration_text(study.question.every),
        "rule": study.question.rule,
        "asked": changed_settings(study),
        "known": study.last_policy is not None,
        "summary": formatter.summary(study),
        "figures": list(formatter.figure_lines(study)),
        "same": sum(pair.difference is None for pair in study.pairs),
        "pairs": len(study.pairs),
        "waits": bool(study.waiting),
        "waiting": waiting,
        "running": running,
        "assumptions": [sanitize(line, LONGEST) for line in formatter.assumptions(study)],
        "payload": {
            "begins": series.seconds(begins.date),
            "ends": series.seconds(ends.date),
            "charts": {"waiting": waiting.columns, "running": running.columns},
            "differs": list(_differs(compared)),
            "waits": [
                [sanitize(bead), compared.titles.get(bead, ""), sanitize(why, LONGEST)]
                for bead, why in sorted(study.waiting.items())
            ],
        },
    }


def changed_settings(study: WhatIfResult) -> list[ChangedSetting]:
    """Return the settings that differ from those of the last recorded decision."""
    stood, now = study.last_policy, study.question.policy
    if stood is None:
        return []
    before, after = dict(_settings(stood)), dict(_settings(now))
    return [
        ChangedSetting(key, before.get(key, "-"), after.get(key, "-"))
        for key in sorted({**before, **after})
        if before.get(key) != after.get(key)
    ]


def _settings(policy: Policy) -> Iterator[tuple[str, str]]:
    yield "settle", _text(policy.settle)
    for rule in policy.rules:
        for each in fields(Rule):
            yield f"rules.{rule.name}.{each.name}", _text(getattr(rule, each.name))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return duration_text(value)
    return sanitize(str(value), LONGEST) or "not set"


def _chart(study: WhatIfResult, name: str) -> Chart:
    """Return one field of the queue depths. Both curves share one chart, with one axis."""
    begins, ends = study.question.begins.date, study.question.ends.date
    recorded, what_if = (
        [(one.at, (getattr(one, name),)) for one in depths.since(begins)] for depths in study.depths
    )
    points = series.thin(series.merge(recorded, what_if), ends)
    if points:
        points.append((ends, points[-1][1]))
    times = [series.seconds(at) for at, _ in points]
    columns = [list(column) for column in zip(*(values for _, values in points), strict=True)]
    before, after = (max((one[0] for _, one in curve), default=0) for curve in (recorded, what_if))
    return Chart([times, *columns], (before, after))


def _differs(compared: Compared) -> Iterator[list[Any]]:
    for pair in compared.study.pairs:
        if pair.difference is None:
            continue
        yield [
            sanitize(pair.bead),
            compared.titles.get(pair.bead, ""),
            formatter.decision(pair),
            pair.difference.replace("-", " "),
            series.seconds(pair.recorded),
            series.seconds(pair.simulated),
            sanitize(formatter.describe(pair), LONGEST),
            sanitize(pair.rule),
        ]
