"""The answer, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from dolt_watch.config.converters import duration_text
from dolt_watch.core.model import EntryKind
from dolt_watch.replay.simulation.attempt_log import AttemptLog
from dolt_watch.replay.simulation.comparison import (
    Difference,
    DifferenceKind,
    Figures,
    Pair,
)
from dolt_watch.replay.simulation.what_if import WhatIfResult
from dolt_watch.stats import DurationStats
from dolt_watch.text_table import format_table
from dolt_watch.timestamps import format_span, iso

SCHEMA = 1
"""Of the JSON; docs/reference/json.md describes it.

What is added keeps the number, what changes its meaning raises it.
"""

WORDS = {
    DifferenceKind.EARLIER: "earlier by {by}",
    DifferenceKind.LATER: "later by {by}",
    DifferenceKind.NEVER: "never: {why}",
    DifferenceKind.ADDED: "only here",
    DifferenceKind.REAPED: "only here: {why}",
    DifferenceKind.SPARED: "spared: {why}",
    DifferenceKind.REAPED_EARLIER: "earlier by {by}",
    DifferenceKind.REAPED_LATER: "later by {by}",
}


class FigureLine(NamedTuple):
    """One figure, in words."""

    name: str
    recorded: str
    what_if: str
    sizes: tuple[float, float]
    """To draw it by: 0 for none."""


def format_text(study: WhatIfResult) -> Iterator[str]:
    question = study.question
    begins, ends = question.begins, question.ends
    yield (
        f"history:  {iso(begins.date)} ({begins.hash[:10]}) to {iso(ends.date)} ({ends.hash[:10]}):"
        f" {format_span(ends.date - begins.date)}, {study.commits} commits"
    )
    yield f"what if:  a tick every {duration_text(question.every)}" + (
        f", rule {question.rule}" if question.rule else ""
    )
    yield ""
    if study.pairs:
        yield from format_table(
            ("BEAD", "DECISION", "RECORDED", "WHAT IF", "DIFFERENCE"),
            [_row(pair) for pair in study.pairs],
        )
        yield ""
    yield from format_table(("", "RECORDED", "WHAT IF"), [line[:3] for line in figure_lines(study)])
    yield ""
    yield f"difference: {summary(study)}"
    for bead, why in sorted(study.waiting.items()):
        yield f"waits at the end: {bead}: {why}"
    yield ""
    for line in assumptions(study):
        yield f"assumed: {line}"


def assumptions(study: WhatIfResult) -> list[str]:
    """What the simulation took for granted, where it made use of it."""
    return [*_runs(study), *_answers(study), *_readiness(study), *ALWAYS]


ALWAYS = (
    "a target takes as many as max_in_flight allows, unless it was recorded to be busy",
    (
        "what people did stays where it was, also what they did in answer to a decision of ours"
        " that is not made here"
    ),
    "what stood uncommitted is not in history, so it could not be seen",
)


def _runs(study: WhatIfResult) -> Iterator[str]:
    if study.assumed:
        count, lasting = len(study.assumed), duration_text(_whole(study.run_time))
        source = (
            "--run-time" if study.question.run_time is not None else "the median of those recorded"
        )
        runs = "1 dispatch has" if count == 1 else f"{count} dispatches have"
        beads = ", ".join(sorted(set(study.assumed)))
        yield f"{runs} no recorded run, and took {lasting} ({source}), alive all along: {beads}"


def _answers(study: WhatIfResult) -> Iterator[str]:
    beads = {one.bead for one in study.simulated.attempts if one.sent is None and one.outcome}
    if beads:
        named = ", ".join(sorted(beads))
        yield (
            "a recorded failure, refusal or busy answer comes with its dispatch, whenever that is:"
            f" {named}"
        )


def _readiness(study: WhatIfResult) -> Iterator[str]:
    if any(rule.ready for rule in study.question.policy.rules):
        yield (
            "a bead is ready as the recorded history has it, also where what blocks it would have"
            " been closed at another time"
        )


def to_dict(study: WhatIfResult) -> dict[str, Any]:
    question = study.question
    differs = [pair.difference for pair in study.pairs if pair.difference is not None]
    return {
        "schema": SCHEMA,
        "from": {"commit": question.begins.hash, "date": question.begins.date},
        "to": {"commit": question.ends.hash, "date": question.ends.date},
        "commits": study.commits,
        "every_seconds": question.every.total_seconds(),
        "rule": question.rule or None,
        "settings": question.policy.settings_hash,
        "recorded": {"figures": _numbers(study.before), "decisions": _told(study.recorded)},
        "what_if": {
            "figures": _numbers(study.after),
            "decisions": _told(study.simulated),
            "waiting": study.waiting,
        },
        "differences": [_difference(one) for one in differs],
        "assumed_runs": {
            "beads": list(study.assumed),
            "run_time_seconds": _seconds(study.run_time) if study.assumed else None,
        },
        "assumptions": assumptions(study),
    }


# -- text --------------------


def _row(pair: Pair) -> tuple[str, ...]:
    said = describe(pair.difference) if pair.difference is not None else "-"
    return pair.bead, decision(pair), _at(pair.recorded), _at(pair.simulated), said


def decision(pair: Pair) -> str:
    return "dispatch" if pair.kind is EntryKind.DISPATCHED else pair.kind.value


def describe(difference: Difference) -> str:
    by = _span(abs(difference.by)) if difference.by is not None else ""
    return WORDS[difference.what].format(by=by, why=difference.why)


def _at(moment: datetime | None) -> str:
    return iso(moment) if moment is not None else "-"


def figure_lines(study: WhatIfResult) -> Iterator[FigureLine]:
    both = study.before, study.after

    def line(name: str, *values: float) -> FigureLine:
        return FigureLine(name, str(values[0]), str(values[1]), (values[0], values[1]))

    def spans(name: str, *values: timedelta | None) -> FigureLine:
        sizes = [value.total_seconds() if value is not None else 0.0 for value in values]
        return FigureLine(name, _span(values[0]), _span(values[1]), (sizes[0], sizes[1]))

    yield line("dispatched", *(one.dispatched for one in both))
    for kind in sorted({*study.before.unsent, *study.after.unsent}):
        yield line(f"attempts: {kind}", *(one.unsent.get(kind, 0) for one in both))
    yield line("reaped", *(one.reaped for one in both))
    if any(one.requeued for one in both):
        yield line("requeued", *(one.requeued for one in both))
    for name in ("waiting", "running"):
        spreads = [getattr(one, name) for one in both]
        yield spans(f"{name}, median", *(spread.median for spread in spreads))
        yield spans(f"{name}, 95%", *(spread.high for spread in spreads))
    hourly = [f"{one.an_hour:.2f}" for one in both]
    yield FigureLine(
        "dispatches an hour", hourly[0], hourly[1], (study.before.an_hour, study.after.an_hour)
    )


def _span(span: timedelta | None) -> str:
    return "-" if span is None else duration_text(_whole(span))


def _whole(span: timedelta | None) -> timedelta:
    return timedelta(seconds=round(span.total_seconds())) if span is not None else timedelta()


def summary(study: WhatIfResult) -> str:
    counts = Counter(pair.difference.what for pair in study.pairs if pair.difference is not None)
    return (
        ", ".join(
            f"{counts[what]} {what.value.replace('-', ' ')}"
            for what in DifferenceKind
            if counts[what]
        )
        or "none"
    )


# -- JSON --------------------


def _numbers(figures: Figures) -> dict[str, Any]:
    return {
        "dispatched": figures.dispatched,
        "unsent": dict(figures.unsent),
        "reaped": figures.reaped,
        "requeued": figures.requeued,
        "waiting": _spread(figures.waiting),
        "running": _spread(figures.running),
        "dispatches_an_hour": round(figures.an_hour, 4),
    }


def _spread(spread: DurationStats) -> Mapping[str, Any]:
    return {
        "count": spread.number,
        "median_seconds": _seconds(spread.median),
        "p95_seconds": _seconds(spread.high),
    }


def _seconds(span: timedelta | None) -> float | None:
    return span.total_seconds() if span is not None else None


def _told(journal: AttemptLog) -> list[dict[str, Any]]:
    return [
        {
            "bead": one.bead,
            "kind": one.kind.value,
            "at": one.at,
            "attempt": one.attempt,
            "rule": one.rule,
            "reason": one.reason,
            "assumed": one.assumed,
        }
        for one in journal.told
    ]


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "what": one.what.value,
        "bead": one.bead,
        "rule": one.rule,
        "recorded": one.recorded,
        "what_if": one.simulated,
        "seconds": _seconds(one.by),
        "why": one.why,
    }
