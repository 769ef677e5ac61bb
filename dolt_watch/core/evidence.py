"""What a change by others says of an attempt under way: that it runs, or nothing, since an old row was imported again. Pure."""

from __future__ import annotations

from datetime import timedelta

from dolt_watch.model import IN_FLIGHT, OPEN, Bead, Event, Sign

CLAIMED_CELLS = frozenset(("notes", "started_at"))
"""What a claim writes and nobody takes back who sets a bead open."""


def after_claim(bead: Bead, sign: Sign) -> bool:
    """Is it evidence that the attempt runs? Not what was written before the claim and only came into history after it. Rows tell whole seconds."""
    written = sign.at + min(timedelta(), timedelta(seconds=sign.off + 1))
    return bead.sent_at is not None and written >= bead.sent_at


def reverted(bead: Bead, event: Event) -> bool:
    """Is it an old row that was imported over an attempt under way? bd does that (a build of May 2026 on every command), and a second agent must not come of it.

    The row is then older than the claim by its own time, and what the claim wrote is gone. Not by time alone: whoever sets a bead open may have a wrong clock.
    """
    sign, sent = event.sign, bead.sent_at
    if bead.phase not in IN_FLIGHT or not bead.token or sign is None or sent is None:
        return False
    if event.row is not None:
        is_open = event.row.after.get("status") == OPEN
    else:  # a what-if has no rows, only what follows from them
        is_open = event.facts is not None and bool(event.facts.matches)
    older = sign.off < 0 and sign.at + timedelta(seconds=sign.off) < sent.replace(microsecond=0)
    return is_open and older and not CLAIMED_CELLS.isdisjoint(event.changed)
