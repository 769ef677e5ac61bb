"""Reports of any size, made up: what a page must bear, without the weeks that it takes to
happen. The same for the same seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from dolt_watch.core.model import Capacity, EntryEffects, EntryKind, LedgerEntry, Phase, State
from dolt_watch.inspection.report.lanes import PhaseInterval
from dolt_watch.inspection.report.view_model import Lane, Report
from dolt_watch.inspection.status import BeadStatus, Status
from dolt_watch.stats import QueueDepth

NOW = datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC)
WEEK = timedelta(days=7)
EVIL = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"></script>"
)
"""A title that somebody meant badly."""
WORDS = [
    "Retry the login when the session ends",
    "Dark theme for settings",
    "Upgrade the parser",
    "Import from CSV fails on quotes",
    "Say why a sync was skipped",
]

_ENDS = ("done",) * 6 + (
    "reaped",
    "blocked",
    "left",
    "quarantined",
    "backoff",
    "held",
    "running",
    "silent",
    "waiting",
    "unknown",
    "claimed",
)
_WHY = {
    "waiting": "matches rule agent, by ann",
    "claimed": "claimed for attempt 1",
    "running": "accepted as job 6f0c2a",
    "silent": "no sign of life past `stale_after`",
    "reaped": "no progress for 42m (threshold 30m)",
    "blocked": "blocked by ann",
    "backoff": "HTTP 502: fetch failed; next attempt at 2026-04-18T22:41:00Z",
    "quarantined": "HTTP 400: Bead is malformed",
    "held": "its history was lost",
    "done": "closed by agent",
    "left": "assignee changed by ann",
    "unknown": "no answer in 30 s",
}


def report(beads: int = 40, title: str = "") -> Report:
    rng = random.Random(beads)
    lanes = [_lane(rng, number, title) for number in range(beads)]
    standing = [lane for lane in lanes if lane.stretches[-1].phase in set(Phase) | {"silent"}]
    now = Status(
        NOW,
        "q8s7d2" * 5,
        "q8s7d2" * 5,
        NOW - timedelta(seconds=9),
        False,
        (),
        {"beadboard": Capacity(1)},
        tuple(_standing(lane) for lane in standing),
        None,
        State(),
    )
    entries = sorted(
        (entry for lane in lanes for entry in _entries(rng, lane)), key=lambda entry: entry.at
    )[::-1]
    lanes.sort(key=lambda lane: (lane not in standing[:8], -lane.stretches[-1].begin.timestamp()))
    return Report(
        NOW - WEEK,
        now,
        (),
        NOW - WEEK,
        {lane.bead: lane.title for lane in lanes},
        tuple(lanes),
        tuple(_depths(rng, beads)),
        tuple((NOW - WEEK * (1 - part / 50), rng.choice((0, 1, 1, 2))) for part in range(50))
        if beads
        else (),
        tuple(entries),
        {(entry.bead, entry.version): f"{rng.getrandbits(128):032x}" for entry in entries},
    )


def _lane(rng: random.Random, number: int, title: str) -> Lane:
    at = NOW - WEEK * rng.random()
    end = rng.choice(_ENDS)
    way = {
        "waiting": ["waiting"],
        "claimed": ["waiting", "claimed"],
        "held": ["held"],
        "backoff": ["waiting", "claimed", "backoff"],
        "quarantined": ["waiting", "claimed", "backoff", "claimed", "quarantined"],
        "unknown": ["waiting", "claimed", "unknown"],
        "reaped": ["waiting", "claimed", "running", "silent", "reaped"],
        "silent": ["waiting", "claimed", "running", "silent"],
    }.get(end, ["waiting", "claimed", "running", *([end] if end != "running" else [])])
    stretches = []
    for place, phase in enumerate(way):
        last = place == len(way) - 1
        span = timedelta(seconds=1 if phase == "claimed" else rng.expovariate(1 / 9000))
        until = at if phase in ("done", "left") else NOW if last else min(NOW, at + span)
        commit = f"{rng.getrandbits(128):032x}"
        stretches.append(
            PhaseInterval(
                phase,
                at,
                until,
                _WHY[phase],
                commit,
                "agent",
                1,
                "6f0c2a" if phase == "running" else "",
            )
        )
        at = until
    return Lane(f"bd-{number}", title or rng.choice(WORDS), tuple(stretches))


def _standing(lane: Lane) -> BeadStatus:
    last = lane.stretches[-1]
    phase = "running" if last.phase == "silent" else last.phase
    return BeadStatus(lane.bead, phase, "agent", last.begin, last.attempt, last.job, last.why)


def _entries(rng: random.Random, lane: Lane) -> Iterator[LedgerEntry]:
    kinds = {
        "claimed": EntryKind.CLAIM,
        "running": EntryKind.DISPATCHED,
        "reaped": EntryKind.REAP,
        "backoff": EntryKind.FAILED,
        "quarantined": EntryKind.QUARANTINED,
        "unknown": EntryKind.UNKNOWN,
    }
    told = [stretch for stretch in lane.stretches if stretch.phase in kinds]
    for version, one in enumerate(told, start=1):
        reason = "" if one.phase in ("claimed", "running") else one.why.partition(";")[0]
        yield LedgerEntry(
            lane.bead,
            version,
            kinds[one.phase],
            one.attempt,
            one.rule,
            "",
            "",
            "",
            one.begin,
            one.job,
            reason,
            "",
            "",
            "beads-dispatcher",
            {},
            EntryEffects(),
        )


def _depths(rng: random.Random, beads: int) -> Iterator[QueueDepth]:
    waiting = 0
    for part in range(min(beads * 3, 2000)):
        waiting = max(0, waiting + rng.choice((-1, 0, 1)))
        yield QueueDepth(
            NOW - WEEK * (1 - part / min(beads * 3, 2000)), waiting, rng.choice((0, 1, 1, 2)), 0
        )
