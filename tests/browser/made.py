"""Generated reports of any size, equal for equal seeds.

They replace weeks of real history. Only lanes, beads and entries are generated. The real functions
compute everything else on the page.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from dolt_watch.config.model import Links
from dolt_watch.core.decisions.hold_reasons import Reason
from dolt_watch.core.model import (
    Bead,
    Capacity,
    EntryEffects,
    EntryKind,
    HoldReason,
    LedgerEntry,
    Phase,
    Rule,
    State,
)
from dolt_watch.inspection.attempts import BeadRow
from dolt_watch.inspection.report.lanes import LaneBuilder, PhaseInterval
from dolt_watch.inspection.report.view_model import Place, Report, build_report
from dolt_watch.inspection.status import DISPLAY_ORDER, BeadStatus, Status
from dolt_watch.inspection.worker_liveness import Liveness
from dolt_watch.stats import QueueDepth

NOW = datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC)
WEEK = timedelta(days=7)
EVIL = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"></script>"
)
"""A malicious title."""
WORDS = [
    "Retry the login when the session ends",
    "Add a dark theme to the account page",
    "Upgrade the template parser to 3.2",
    "Import CSV files that contain quoted line breaks",
    "Explain in the log why a sync was skipped",
    "Make the checkout tests pass on Safari",
    "Delete the legacy orders API",
    "Speed up the product search index",
    "Document the refund webhooks",
    "Rotate the staging credentials",
    "Split the payment form into three steps",
    "Rewrite the delivery date scheduler in small steps",
]
LINKS = Links("https://tracker.example/b/{id}", "https://jobs.example/{job}", "")

_ENDS = ("done",) * 24 + ("reaped", "reaped", "blocked", "left", "quarantined")
_OPEN = ("waiting",) * 6 + (
    "backoff",
    "quarantined",
    "quarantined",
    "unknown",
    "held",
    "running",
    "running",
    "silent",
    "claimed",
)
_CAUSES = (
    "HTTP 500: spawn ENOMEM",
    "HTTP 503: at capacity",
    'HTTP 400: {"error": "Bead %s not found"}',
)
_WHY = {
    "waiting": "matches rule agent, by ann",
    "claimed": "claimed for attempt 1",
    "running": "accepted as job 6f0c2a",
    "silent": "no sign of life for longer than `stale_after`",
    "reaped": "no progress for 42m (threshold 30m)",
    "blocked": "blocked by ann",
    "held": "its history was lost",
    "done": "closed by agent",
    "left": "no longer matches its rule: assignee changed by ann",
    "unknown": "no answer in 30 s",
}
_WAYS = {
    "waiting": ["waiting"],
    "claimed": ["waiting", "claimed"],
    "held": ["held"],
    "backoff": ["waiting", "claimed", "backoff"],
    "quarantined": ["waiting", "claimed", "backoff", "claimed", "quarantined"],
    "unknown": ["waiting", "claimed", "unknown"],
    "reaped": ["waiting", "claimed", "running", "silent", "reaped"],
    "silent": ["waiting", "claimed", "running", "silent"],
    "running": ["waiting", "claimed", "running"],
}
_KINDS = {
    "claimed": EntryKind.CLAIM,
    "running": EntryKind.DISPATCHED,
    "reaped": EntryKind.REAP,
    "backoff": EntryKind.FAILED,
    "quarantined": EntryKind.QUARANTINED,
    "unknown": EntryKind.UNKNOWN,
}


def report(
    beads: int = 40,
    title: str = "",
    *,
    span: timedelta = WEEK,
    worker: bool = True,
    well: bool = False,
    now: datetime = NOW,
) -> Report:
    """Return a report.

    Args:
        beads: Number of beads. At most half of the beads are open.
        title: Title of every bead. '' selects various titles.
        span: Age of the first event.
        worker: Whether a worker is alive.
        well: Whether no bead needs a person.
        now: Time of the database.
    """
    rng = random.Random(beads)
    lanes: dict[str, list[PhaseInterval]] = {}
    facts: dict[str, BeadRow] = {}
    for number in range(beads):
        open_ = number % max(2, beads // 30) == 0
        end = rng.choice(_OPEN if open_ else _ENDS)
        if well and end in ("quarantined", "unknown", "held", "silent"):
            end = "done"
        bead = f"shop-{_word(number)}"
        lanes[bead] = list(_lane(rng, bead, end, number, beads, span, now))
        facts[bead] = BeadRow(title or f"{WORDS[number % len(WORDS)]}", rng.choice((0, 1, 2, 3)))
    entries = sorted(
        (entry for bead, lane in lanes.items() for entry, _ in _entries(bead, lane)),
        key=lambda entry: entry.at,
        reverse=True,
    )
    commits = {
        (entry.bead, entry.version): one.commit
        for bead, lane in lanes.items()
        for entry, one in _entries(bead, lane)
    }
    history = SimpleNamespace(
        lanes=lanes,
        begins=now - span,
        commits=commits,
        depths=list(_depths(lanes, now)),
    )
    return build_report(
        cast(LaneBuilder, history),
        _status(lanes, worker, well, now),
        entries,
        facts,
        (Rule("agent", max_in_flight=4), Rule("docs", target="pipeline", max_in_flight=2)),
        now - WEEK,
        (),
        Place("storefront", "dolt.internal:3306/storefront", LINKS),
    )


def _word(number: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    number = number * 7919 + 11_037
    return (
        letters[number // 1296 % 36]
        + letters[number // 36 % 36]
        + letters[number % 36]
        + (str(number // 46_656) if number >= 46_656 else "")
    )


def _hash(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuv0123456789", k=32))


def _lane(
    rng: random.Random,
    bead: str,
    end: str,
    number: int,
    beads: int,
    span: timedelta,
    now: datetime,
) -> Iterator[PhaseInterval]:
    unit = span / 12 if span < WEEK else timedelta(hours=2)
    way = _WAYS.get(end) or ["waiting", "claimed", "running", end]
    lengths = [
        timedelta(seconds=2) if phase == "claimed" else unit * rng.uniform(0.1, 1.6)
        for phase in way[:-1]
    ]
    last = unit * rng.uniform(0.05, 3) if end in _OPEN else span * rng.random() * 0.9
    at = max(now - span, now - last - sum(lengths, timedelta()))
    if number == 0:
        at = now - span
    rule = "docs" if number % 5 == 4 else "agent"
    job = "" if end in ("waiting", "held") else f"{rng.getrandbits(24):06x}"
    cause = rng.choice(_CAUSES)
    if "%s" in cause:
        cause %= bead
    for place, phase in enumerate(way):
        final = place == len(way) - 1
        until = None if final else min(now, at + lengths[place])
        if phase in ("done", "left"):
            until = at
        why = _WHY.get(phase, cause)
        if phase == "running":
            why = f"accepted as job {job}"
        attempt = (
            0
            if place == 0
            else 2
            if way[:place].count("claimed") > 1 or (phase == "claimed" and "claimed" in way[:place])
            else 1
        )
        runs = phase in ("running", "silent")
        yield PhaseInterval(phase, at, until, why, _hash(rng), rule, attempt, job if runs else "")
        at = until or at


def _status(
    lanes: dict[str, list[PhaseInterval]], worker: bool, well: bool, now: datetime
) -> Status:
    states = {
        bead: lane[-1] for bead, lane in lanes.items() if lane[-1].phase in {*Phase, "silent"}
    }
    waiting: dict[str, int] = {}
    for last in states.values():
        waiting[last.rule] = waiting.get(last.rule, 0) + (last.phase == Phase.WAITING)
    places: dict[str, int] = {}
    beads, kept = [], {}
    for bead, last in states.items():
        phase = Phase.RUNNING if last.phase == "silent" else Phase(last.phase)
        why, gate, place = last.why, "", None
        if phase is Phase.WAITING:
            places[last.rule] = place = places.get(last.rule, 0) + 1
            why = Reason(last.rule, None, place, waiting[last.rule]).why
        elif phase is Phase.BACKOFF:
            gate, place = "backoff", places.get(last.rule, 0) + 1
            why = "backoff until 2026-04-18T22:41:00Z"
        elif phase in (Phase.RUNNING, Phase.CLAIMED):
            why = ""
        beads.append(
            BeadStatus(
                bead, phase.value, last.rule, last.begin, last.attempt, last.job, why, gate, place
            )
        )
        token = "t" if phase in (Phase.RUNNING, Phase.CLAIMED, Phase.UNKNOWN) else ""
        kept[bead] = Bead(
            bead, phase, last.rule, last.begin, last.commit, attempt=last.attempt, token=token
        )
    full = HoldReason("max_in_flight", "4 of 4 in flight")
    beads.sort(key=lambda bead: (DISPLAY_ORDER[Phase(bead.phase)], bead.place or 0, bead.since))
    return Status(
        now=now,
        head="q8s7d2l4" * 4,
        folded="q8s7d2l4" * 4,
        folded_at=now - timedelta(seconds=9),
        merging=False,
        paused=(),
        targets={"beadboard": Capacity(1), "pipeline": Capacity(0, "2 of 2 jobs run")},
        beads=tuple(beads),
        last=None,
        state=State(beads=kept),
        rules={"agent": full} if waiting.get("agent") else {},
        worker=_worker(worker, now),
    )


def _worker(alive: bool, now: datetime) -> Liveness:
    ago = timedelta(minutes=11)
    return Liveness(
        now=now,
        leads=alive,
        host="web-1",
        quiet=timedelta(seconds=2) if alive else None,
        saved_at=now - ago,
        due=0 if alive else 3,
        due_since=None if alive else now - ago,
        late=not alive,
    )


def _entries(bead: str, lane: list[PhaseInterval]) -> Iterator[tuple[LedgerEntry, PhaseInterval]]:
    told = [interval for interval in lane if interval.phase in _KINDS]
    for version, one in enumerate(told, start=1):
        reason = "" if one.phase in ("claimed", "running") else one.why.partition(";")[0]
        entry = LedgerEntry(
            bead,
            version,
            _KINDS[one.phase],
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
        yield entry, one


def _depths(lanes: dict[str, list[PhaseInterval]], now: datetime) -> Iterator[QueueDepth]:
    moves: list[tuple[datetime, int, int]] = []
    for lane in lanes.values():
        for one in lane:
            waits = int(one.phase == "waiting")
            runs = int(one.phase in ("claimed", "running", "silent", "unknown"))
            if waits or runs:
                moves.append((one.begin, waits, runs))
                moves.append((one.end or now + WEEK, -waits, -runs))
    waiting = running = 0
    for at, waits, runs in sorted(moves):
        waiting, running = waiting + waits, running + runs
        if at <= now:
            yield QueueDepth(at, waiting, running, 0)


def data(beads: int = 40, **how: Any) -> Any:
    """Return the data in the page of ``report``."""
    from dolt_watch.inspection.report.payload import payload

    return payload(report(beads, **how))
