"""Beads with uncommitted rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from dolt_watch.core.decisions.policy import UNCOMMITTED, UNVERSIONED, Candidates
from dolt_watch.core.model import HoldReason, RowChange


def _unversioned(hold: HoldReason) -> HoldReason:
    """Return a hold of the working set under a gate that a replay doesn't ask again."""
    if hold.gate == UNVERSIONED:
        return hold
    return HoldReason(UNCOMMITTED, f"by an uncommitted change: {hold.why}")


def uncommitted(
    loose: Sequence[RowChange],
    asked: Candidates,
    rules: Sequence[str],
    quiet: Mapping[str, datetime],
    since: Mapping[str, datetime],
) -> dict[str, HoldReason]:
    """Return the beads that an uncommitted row holds or spares.

    Args:
        rules: names, in the order of the answers of the rows.
        quiet: as ``silence_cutoffs`` returns it.
        since: table → when it was first seen with its current rows. A row that is never committed
            is one sign of life, not a permanent one.
    """
    place = {name: number for number, name in enumerate(rules)}
    waits = (
        {bead.id: place[name] for name, queue in asked.queues.items() for bead in queue}
        if loose
        else {}
    )
    runs = {bead.id: place[bead.rule] for bead in asked.stale if bead.rule in place}
    holds: dict[str, HoldReason] = {}
    for row in loose:
        own = row.answers if row.table == "issues" else ()
        if row.bead in runs:
            if own and not own[runs[row.bead]].runs:
                holds[row.bead] = HoldReason(UNCOMMITTED, "an uncommitted change ends it")
            elif since[row.table] > quiet[row.bead]:
                holds[row.bead] = HoldReason(
                    UNCOMMITTED, f"uncommitted change in {row.table}: it is alive"
                )
        elif own and not (
            own[waits[row.bead]].matches if row.bead in waits else any(one.matches for one in own)
        ):
            holds[row.bead] = HoldReason(
                UNCOMMITTED, "an uncommitted change takes it out of its rule"
            )
    return holds
