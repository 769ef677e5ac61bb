"""A bead's timeline: the commits that changed it, and what each of them meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dolt_watch.core.model import Event
from dolt_watch.engines import Commit
from dolt_watch.history.reader import HistoryReader


class TimelineEntry(NamedTuple):
    """One commit, and its events for the bead."""

    commit: Commit
    events: tuple[Event, ...]


def build_timeline(
    reader: HistoryReader, touched: Sequence[Commit], bead: str
) -> Iterator[TimelineEntry]:
    """Yield the bead's commits with their events, oldest first.

    ``touched``: as ``commits_of_bead`` finds them.
    """
    for commit, _, events in reader.read(touched):
        own = tuple(event for event in events if event.bead == bead)
        if own:
            yield TimelineEntry(commit, own)
