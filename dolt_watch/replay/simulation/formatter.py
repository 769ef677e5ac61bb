"""The output of a what-if, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from dolt_watch.config.converters import duration_text
from dolt_watch.core.model import EntryKind
from dolt_watch.replay.simulation.attempt_log import AttemptLog
from dolt_watch.replay.simulation.comparison import DifferenceKind, Figures, Pair
from dolt_watch.replay.simulation.what_if import WhatIfResult
from dolt_watch.stats import DurationStats

SCHEMA = 2
"""Version of the JSON format in docs/reference/json.md. Increased if a key changes its meaning.

Version 2: ``differences`` compares the two simulations.
"""
NAMED = 5
"""Maximum number of bead IDs in a group."""

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
    """One figure as text."""

    name: str
    recorded: str
    what_if: str
    sizes: tuple[float, float]
    """The recorded and the what-if value as numbers. 0 if a value is missing."""
    unchanged: str = ""
    """The value in the simulation of the recorded settings."""
    change: str = ""
    """The change from ``unchanged`` to ``what_if``, absolute and in percent, or ''."""


ALWAYS = (
    "a target accepts up to max_in_flight beads, unless a busy answer was recorded",
    (
        "actions of users happen at their recorded times, even if the decision that caused them is"
        " missing in the simulation"
    ),
    "uncommitted changes are not in history, so the simulation ignores them",
)


def assumptions(study: WhatIfResult) -> list[str]:
    """Return the assumptions that affect the simulation."""
    found = []
    if study.assumed:
        count, lasting = len(study.assumed), _span(study.run_time)
        source = (
            "--run-time" if study.question.run_time is not None else "the median of recorded runs"
        )
        runs = "1 dispatch has" if count == 1 else f"{count} dispatches have"
        beads = ", ".join(sorted(set(study.assumed)))
        found.append(
            f"{runs} no recorded run. Assumed: {lasting} ({source}) with signs of life throughout:"
            f" {beads}"
        )
    answered = {one.bead for one in study.simulated.attempts if one.sent is None and one.outcome}
    if answered:
        found.append(
            "recorded failures, refusals, and busy answers follow their dispatch when it moves:"
            f" {', '.join(sorted(answered))}"
        )
    if any(rule.ready for rule in study.question.policy.rules):
        found.append(
            "readiness follows the recorded history, even if the simulation would close a blocking"
            " bead at another time"
        )
    return [*found, *ALWAYS]


def to_dict(study: WhatIfResult) -> dict[str, Any]:
    # The record, and the two simulations that are compared.
    question = study.question
    differs = [pair for pair in study.pairs if pair.difference is not None]
    return {
        "schema": SCHEMA,
        "from": {"commit": question.begins.hash, "date": question.begins.date},
        "to": {"commit": question.ends.hash, "date": question.ends.date},
        "commits": study.commits,
        "every_seconds": question.every.total_seconds(),
        "cadence": {
            "every_seconds": study.cadence.every.total_seconds(),
            "source": study.cadence.source,
        },
        "rule": question.rule or None,
        "settings": question.policy.settings_hash,
        "recorded": _history(study.before, study.recorded),
        "unchanged": _history(study.base, study.unchanged),
        "what_if": {**_history(study.after, study.simulated), "waiting": study.waiting},
        "differences": [_difference(one) for one in differs],
        "assumed_runs": {
            "beads": list(study.assumed),
            "run_time_seconds": _seconds(study.run_time) if study.assumed else None,
        },
        "assumptions": assumptions(study),
    }


# -- text --------------------


def decision(pair: Pair) -> str:
    return "dispatch" if pair.kind is EntryKind.DISPATCHED else pair.kind.value


def describe(pair: Pair) -> str:
    """Return the difference in words, or '-'."""
    if pair.difference is None:
        return "-"
    by = _span(abs(pair.by)) if pair.by is not None else ""
    return WORDS[pair.difference].format(by=by, why=pair.why)


def figure_lines(study: WhatIfResult) -> Iterator[FigureLine]:
    """Yield each figure: recorded, under the recorded settings, and under the changed ones."""
    each = (study.before, study.base, study.after)

    def line(name: str, values: Sequence[float | None], show: Callable[[float], str]) -> FigureLine:
        recorded, unchanged, what_if = ("-" if one is None else show(one) for one in values)
        sizes = (values[0] or 0.0, values[2] or 0.0)
        change = _change(values[1], values[2], show)
        return FigureLine(name, recorded, what_if, sizes, unchanged, change)

    def counts(name: str, values: Sequence[int]) -> FigureLine:
        return line(name, values, lambda number: f"{number:.0f}")

    yield counts("dispatched", [one.dispatched for one in each])
    for kind in sorted({kind for one in each for kind in one.unsent}):
        yield counts(f"attempts: {kind}", [one.unsent.get(kind, 0) for one in each])
    yield counts("reaped", [one.reaped for one in each])
    if any(one.requeued for one in each):
        yield counts("requeued", [one.requeued for one in each])
    for name in ("waiting", "running"):
        for label, of in (("median", "median"), ("95%", "high")):
            spans = [_seconds(getattr(getattr(one, name), of)) for one in each]
            yield line(f"{name}, {label}", spans, lambda number: _span(timedelta(seconds=number)))
    rates = [one.an_hour for one in each]
    yield line("dispatches an hour", rates, lambda number: f"{number:.{0 if number >= 10 else 2}f}")


def _change(unchanged: float | None, what_if: float | None, show: Callable[[float], str]) -> str:
    """Return the change, absolute and in percent of the unchanged value."""
    if unchanged is None or what_if is None or show(unchanged) == show(what_if):
        return ""
    by = what_if - unchanged
    sign = "+" if by > 0 else "-"
    percent = f" ({sign}{abs(by) / unchanged:.0%})" if unchanged else ""
    return f"{sign}{show(abs(by))}{percent}"


def waiting_groups(study: WhatIfResult) -> Iterator[str]:
    """Yield one line for each reason why beads wait at the end, most frequent first."""
    reasons: dict[str, list[str]] = {}
    for bead, why in sorted(study.waiting.items()):
        reasons.setdefault(why, []).append(bead)
    for why, beads in sorted(reasons.items(), key=lambda one: (-len(one[1]), one[0])):
        number = "1 bead waits" if len(beads) == 1 else f"{len(beads)} beads wait"
        more = f" and {len(beads) - NAMED} more" if len(beads) > NAMED else ""
        yield f"{number} at the end: {why} ({', '.join(beads[:NAMED])}{more})"


def _span(span: timedelta | None) -> str:
    """Return a duration in whole seconds."""
    return duration_text(timedelta(seconds=round((span or timedelta()).total_seconds())))


def summary(study: WhatIfResult) -> str:
    counts = Counter(pair.difference for pair in study.pairs)
    parts = [f"{counts[what]} {what.replace('-', ' ')}" for what in DifferenceKind if counts[what]]
    return ", ".join(parts) or "none"


# -- JSON --------------------


def _history(figures: Figures, journal: AttemptLog) -> dict[str, Any]:
    return {
        "figures": {
            "dispatched": figures.dispatched,
            "unsent": dict(figures.unsent),
            "reaped": figures.reaped,
            "requeued": figures.requeued,
            "waiting": _spread(figures.waiting),
            "running": _spread(figures.running),
            "dispatches_an_hour": round(figures.an_hour, 4),
        },
        "decisions": [one._asdict() for one in journal.records],
    }


def _spread(spread: DurationStats) -> Mapping[str, Any]:
    return {
        "count": spread.number,
        "median_seconds": _seconds(spread.median),
        "p95_seconds": _seconds(spread.high),
    }


def _seconds(span: timedelta | None) -> float | None:
    return span.total_seconds() if span is not None else None


def _difference(one: Pair) -> dict[str, Any]:
    return {
        "what": one.difference,
        "bead": one.bead,
        "rule": one.rule,
        "recorded": one.recorded,
        "unchanged": one.unchanged,
        "what_if": one.simulated,
        "seconds": _seconds(one.by),
        "why": one.why,
    }
