"""Running beads as ``reap --dry-run`` lists them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from dolt_watch.core.decisions.policy import Plan, last_activity
from dolt_watch.core.model import (
    Bead,
    EntryKind,
    HoldReason,
    JobReport,
    Phase,
    State,
)


class ReapCandidate(NamedTuple):
    """A running bead in `reap --dry-run`."""

    bead: str
    sign: str
    """The last sign of life: what, by whom, in which commit."""
    idle: timedelta
    verdict: str
    """The target's verdict on the job. '-' if it was not asked."""
    then: str
    """The next action."""


def reap_table(
    state: State, plan: Plan, verdicts: Mapping[str, JobReport], now: datetime
) -> list[ReapCandidate]:
    """Return the running beads, the longest silent first."""
    running = [bead for bead in state.beads.values() if bead.phase is Phase.RUNNING]
    ends = {EntryKind.REAP: "block", EntryKind.REQUEUE: "requeue"}
    decided = {one.bead: ends[one.kind] for one in plan.decisions if one.kind in ends}
    rows = [
        _row(bead, decided.get(bead.id, "keep"), plan.holds.get(bead.id), verdicts, now)
        for bead in running
    ]
    return sorted(rows, key=lambda row: (-row.idle, row.bead))


def _row(
    bead: Bead,
    then: str,
    hold: HoldReason | None,
    verdicts: Mapping[str, JobReport],
    now: datetime,
) -> ReapCandidate:
    sign, report = bead.sign, verdicts.get(bead.id)
    last = f"{sign.what} by {sign.who} ({sign.commit[:8]})" if sign else "no sign of life"
    return ReapCandidate(
        bead.id,
        last,
        now - last_activity(bead),
        (report.status_text or report.verdict.value) if report else "-",
        f"{then} ({hold.why})" if hold is not None else then,
    )
