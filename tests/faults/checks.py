"""Checks after a round with killed workers.

They read history, the ledger, the saved state, the row of the bead, and the requests to the board.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from dolt_watch.beads import feed_query
from dolt_watch.checkpoint.poll import WATCHED, Poller
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.config import Settings
from dolt_watch.core.model import EntryKind, LedgerEntry, Phase, State
from dolt_watch.core.projection.event_deriver import derive_events
from dolt_watch.core.projection.projection import Projection
from dolt_watch.core.rules.compiled_rule import compile_for
from dolt_watch.engines import Engine
from dolt_watch.history import change_feed, reader
from dolt_watch.history.rebuild import rebuild_state
from dolt_watch.ledger.reader import read_entries
from tests.faults.board import KillingBoard
from tests.faults.scenarios import Scenario
from tests.faults.tally import Wrong

NOTHING_RUNS = frozenset(
    {
        EntryKind.FAILED,
        EntryKind.QUARANTINED,
        EntryKind.BUSY,
        EntryKind.STOPPED,
        EntryKind.RELEASE,
        EntryKind.RETRY,
    }
)
"""Ends of an attempt that allow another attempt.

The target reported the end, no request was sent, or the service reported that it runs nothing.
"""

ENDS: dict[EntryKind, tuple[Phase | None, str]] = {
    EntryKind.DISPATCHED: (Phase.RUNNING, "in_progress"),
    EntryKind.NOTE: (Phase.RUNNING, "in_progress"),
    EntryKind.GIVE_UP: (None, "blocked"),
    EntryKind.REAP: (None, "blocked"),
    EntryKind.QUARANTINED: (Phase.QUARANTINED, "open"),
}
"""Last entry of a bead with no work left → phase and status of the bead."""


class Checks:
    """Checks with an independent state, which is applied from the beginning of history."""

    def __init__(self, engine: Engine, settings: Settings, scenario: Scenario) -> None:
        self.rules, self.scenario = settings.rules, scenario
        columns = engine.columns("issues")
        self.compiled = [compile_for(rule, columns, engine.dialect) for rule in settings.rules]
        self.lens = feed_query.FeedQuery(self.compiled, list(columns))
        self.folded = State(Poller(engine).poll().head)

    def after(self, engine: Engine, bead: str, board: KillingBoard) -> list[Wrong]:
        stream = sorted(read_entries(engine, bead=bead), key=lambda entry: entry.version)
        ((status, notes),) = engine.query("SELECT status, notes FROM issues WHERE id = ?", (bead,))
        saved = StateStore(engine).load(Poller(engine).poll())
        wrong = [
            *_doubles(stream, board.tokens(bead), board.jobs(bead)),
            *_end(stream, saved, bead, str(status)),
            *_ledger(stream, notes, engine),
            *self._fold(engine, saved),
            *_leftovers(engine, stream),
        ]
        if board.unclaimed:
            wrong.append(
                Wrong("other", f"sent before their claim was in history: {board.unclaimed}")
            )
            board.unclaimed.clear()
        jobs = board.jobs(bead)
        told = [entry.job for entry in stream if entry.kind is EntryKind.DISPATCHED]
        if told and told != jobs:
            wrong.append(Wrong("other", f"the ledger says jobs {told}, the board runs {jobs}"))
        return wrong

    def _fold(self, engine: Engine, saved: State) -> Iterator[Wrong]:
        """Report a saved state that isn't the one applied from the beginning or last resync."""
        head = Poller(engine).poll().head
        if self.scenario.rewrites:
            # The last one by version: two workers can rebuild at once, and their clocks differ.
            resyncs = [e for e in read_entries(engine, bead="") if e.kind is EntryKind.RESYNC]
            at = max(resyncs, key=lambda entry: entry.version).observed
            commit = engine.commit_of(at)
            assert commit is not None
            self.folded = rebuild_state(
                engine, at, commit.date, self.rules, self.compiled, self.lens.columns
            ).state
        line = reader.commit_path(
            engine.commits(self.folded.commit, head), self.folded.commit, head
        )
        assert line is not None
        projection = Projection(self.folded)
        for changes in change_feed.read_changes(engine, line, WATCHED, self.lens):
            projection.apply(derive_events(changes, self.rules))
        projection.commit = head
        self.folded = projection.state()
        if self.folded._replace(made=saved.made) != saved:
            yield Wrong("other", f"folded from the beginning: {_differ(self.folded, saved)}")


def _doubles(
    stream: Sequence[LedgerEntry], tokens: Sequence[str], jobs: Sequence[str]
) -> Iterator[Wrong]:
    """Report each POST that follows an attempt without a 'nothing runs', and a second job."""
    if len(jobs) > 1:
        yield Wrong("double", f"{len(jobs)} jobs run")
    if len(set(tokens)) < len(tokens):
        yield Wrong("double", f"a token was sent twice: {tokens}")
    claims = {entry.token: entry.version for entry in stream if entry.kind is EntryKind.CLAIM}
    if unknown := [token for token in tokens if token not in claims]:
        yield Wrong("other", f"sent without a claim in the ledger: {unknown}")
    for sent, following in pairwise(tokens):
        settled = [
            e
            for e in stream
            if e.token == sent and e.kind in NOTHING_RUNS and e.version < claims.get(following, 0)
        ]
        if not settled:
            yield Wrong(
                "double",
                "sent again although an agent may have run:"
                f" {[entry.kind.value for entry in stream]}",
            )
        elif settled[0].kind is EntryKind.RETRY and not any(
            idle for _, idle, _ in settled[0].detail["given"]["capacity"].values()
        ):
            yield Wrong("double", "tried again without the service's word that it runs nothing")


def _end(stream: Sequence[LedgerEntry], saved: State, bead: str, status: str) -> Iterator[Wrong]:
    kinds = [entry.kind for entry in stream]
    record = saved.beads.get(bead)
    phase = record.phase if record else None
    words = f"{phase}, {status}, after {[kind.value for kind in kinds]}"
    if not kinds or ENDS.get(kinds[-1]) != (phase, status):
        yield Wrong("loss", words)
    known = {EntryKind.UNKNOWN, EntryKind.OVERDUE}
    if EntryKind.GIVE_UP in kinds and not known & set(kinds):
        yield Wrong("loss", f"given up, but never unknown: {words}")
    if record is not None and stream and record.version != stream[-1].version:
        yield Wrong("other", f"state of version {record.version}, ledger of {stream[-1].version}")


def _ledger(stream: Sequence[LedgerEntry], notes: str, engine: Engine) -> Iterator[Wrong]:
    """Report gaps between versions, and effects that don't match the entries.

    The note of each entry and its rows of events exist once, and each belongs to an entry.
    """
    versions = [entry.version for entry in stream]
    if versions != list(range(1, len(versions) + 1)):
        yield Wrong("other", f"versions {versions}")
    wrote = Counter(
        line
        for entry in stream
        if entry.kind is not EntryKind.NOTE
        for line in entry.wrote.note.splitlines()
    )
    have = Counter(line for line in notes.splitlines() if line != "by a person")
    if have != wrote:
        yield Wrong("other", f"notes {dict(have)}, the ledger says {dict(wrote)}")
    if not stream:
        return
    actors = {entry.actor for entry in stream}
    marks = ", ".join("?" * len(actors))
    rows = engine.query(
        f"SELECT id FROM events WHERE issue_id = ? AND actor IN ({marks})",
        (stream[0].bead, *actors),
    )
    if sorted(row[0] for row in rows) != sorted(
        id for entry in stream for id in entry.wrote.events
    ):
        yield Wrong("other", f"{len(rows)} rows of events, not those of the ledger")


def _leftovers(engine: Engine, stream: Sequence[LedgerEntry]) -> Iterator[Wrong]:
    """Report uncommitted tables and claims that were not deleted from ``watch_attempt``."""
    if engine.dirty():
        yield Wrong("other", f"uncommitted: {sorted(engine.dirty())}")
    rows = engine.query("SELECT bead_id FROM watch_attempt")
    if rows:
        yield Wrong("other", f"watch_attempt still holds {rows}")


def _differ(folded: State, saved: State) -> str:
    """Return the first difference between two states as text."""
    for bead in sorted({*folded.beads, *saved.beads}):
        if folded.beads.get(bead) != saved.beads.get(bead):
            return f"{folded.beads.get(bead)}\n  saved: {saved.beads.get(bead)}"
    return f"{folded}\n  saved: {saved}"
