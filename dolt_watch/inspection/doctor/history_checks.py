"""Checks of history and the working set: the cursor, what delays decisions, and other workers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby

from dolt_watch import __version__
from dolt_watch.beads.schema import NOT_COMMITTED, uncommitted_migration
from dolt_watch.checkpoint.poll import TableState
from dolt_watch.config import hash_of_text
from dolt_watch.core.model import entry_payloads
from dolt_watch.history.reader import first_commit, is_cut
from dolt_watch.history.revisions import head_commit
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import (
    Finding,
    failure,
    join_names,
    ok,
    version_tuple,
    warning,
)
from dolt_watch.ledger.reader import read_entries
from dolt_watch.timestamps import format_span, iso

LATELY = timedelta(days=7)
FORGOTTEN = timedelta(minutes=10)
"""If rows are uncommitted for longer than this although they are to be adopted, no tick has run."""


def cursor(case: DoctorContext) -> Iterator[Finding]:
    poll = case.poll
    if not poll.commit:
        yield ok("nothing applied yet: the first tick reads the beads as they are")
    elif not case.engine.is_ancestor(poll.commit, poll.head):
        says = f"history was rewritten: it lacks {poll.commit[:8]}, the last applied commit"
        yield warning(
            says, "dolt_watch tick   (rebuilds the state; no attempt is dispatched again)"
        )
    else:
        behind = poll.head != poll.commit
        yield ok(f"at {poll.commit[:8]}" + (f"; HEAD is newer: {poll.head[:8]}" if behind else ""))


def merge(case: DoctorContext) -> Iterator[Finding]:
    if case.engine.has_unfinished_merge():
        yield failure(
            "a merge, conflicts or constraint violations are unresolved: nothing is decided",
            "finish the merge (CALL DOLT_CONFLICTS_RESOLVE, CALL DOLT_COMMIT), or abort it: CALL"
            " DOLT_MERGE('--abort')",
        )
    else:
        yield ok("no merge in progress")


def uncommitted(case: DoctorContext) -> Iterator[Finding]:
    poll, settings = case.poll, case.settings
    dirty = case.engine.dirty()
    since = {
        table: _since(poll.seen.get(table), hash)
        for table, hash in poll.hashes.items()
        if table in dirty
    }
    spans = ", ".join(
        f"{table} for {format_span(poll.now - at)}" if at else f"{table} for less than a second"
        for table, at in sorted(since.items())
    )
    # A table that is uncommitted for long means that no tick adopts it.
    old = [
        at
        for at in since.values()
        if at is not None and poll.now - at > max(FORGOTTEN, settings.settle)
    ]
    # Manual changes of the ledger are never adopted: an administrator must decide about them.
    own_tables = sorted(dirty & {"watch_decision", "watch_settings", "watch_migration"})
    if own_tables:
        names = "', '".join(own_tables)
        fix = (
            f"see what changed: dolt diff {' '.join(own_tables)}; then commit it, or CALL"
            f" DOLT_CHECKOUT('{names}')"
        )
        yield warning(f"uncommitted manual changes of {', '.join(own_tables)}", fix)
    # The most severe problem is reported, the others may be its effects.
    if uncommitted_migration(case.engine):
        yield failure(NOT_COMMITTED, "bd dolt commit")
    elif since and not settings.adopt:
        yield warning(
            f"{spans}: decisions ignore uncommitted rows", "bd dolt commit, or adopt = true"
        )
    elif old:
        yield warning(f"{spans}: no tick has adopted it", "dolt_watch tick")
    elif since:
        yield ok(f"{spans}: the next tick commits it")
    else:
        yield ok("no uncommitted rows in the beads tables")


def _since(seen: TableState | None, hash: str) -> datetime | None:
    """Return since when the table is as it is now; None if no tick has seen it so."""
    return seen.since if seen is not None and seen.dirty and seen.hash == hash else None


def history(case: DoctorContext) -> Iterator[Finding]:
    """Check that history is complete: a shallow clone (DOLT_CLONE --depth) lacks old commits."""
    first = first_commit(case.engine, head_commit(case.engine))
    if is_cut(case.engine, first):
        says = (
            f"a shallow clone that begins at {first.hash[:8]}, {iso(first.date)}: why, events and"
            " replay begin there"
        )
        yield warning(
            says, "clone again without --depth, or read history in the origin of the clone"
        )
    else:
        yield ok(f"complete since {iso(first.date)}")


def recorded(case: DoctorContext) -> Iterator[Finding]:
    """Check that history contains the settings of all decisions: replay needs them."""
    texts: dict[str, str] = dict(case.engine.query("SELECT hash, text FROM watch_settings"))
    wrong = sorted(hash for hash, text in texts.items() if hash_of_text(text) != hash)
    used = case.engine.query("SELECT DISTINCT settings_hash FROM watch_decision")
    missing = sorted({hash for (hash,) in used} - {"", *texts})
    if wrong or missing:
        what = "changed since" if wrong else "not in history"
        yield failure(
            f"settings of recorded decisions are {what}: {', '.join(wrong or missing)}",
            "find the commit (SELECT * FROM dolt_diff_watch_settings), and restore the rows from"
            " its parent",
        )
    else:
        here = (
            "in history"
            if case.policy.settings_hash in texts
            else "new: the next decision records it"
        )
        yield ok(f"{case.policy.settings_hash} is {here}")


def program(case: DoctorContext) -> Iterator[Finding]:
    last = read_entries(case.engine, limit=1)
    wrote = entry_payloads.Envelope.decode(last[0].detail).program if last else ""
    if version_tuple(wrote) > version_tuple(__version__):
        fix = f"upgrade to {wrote} or later: python -m pip install --upgrade dolt-watch"
        yield warning(f"this is {__version__}, but {wrote} wrote the last decision", fix)
    else:
        yield ok(f"{__version__}; {f'last decision by {wrote}' if wrote else 'no decisions yet'}")


def hosts(case: DoctorContext) -> Iterator[Finding]:
    """Check whether hosts alternate: workers on one server, or workers of clones that sync.

    Only the user knows which. Each run of a CronJob has a new host name, so none of those repeats.
    """
    lately = read_entries(case.engine, since=case.poll.now - LATELY)
    names = [entry_payloads.Envelope.decode(entry.detail).host for entry in reversed(lately)]
    turns = [host for host, _ in groupby(names)]
    if len(turns) > len({*turns}):
        fix = (
            "no action is needed if these hosts are workers on this server; if they watch clones of"
            ' this database, pause all but one: dolt_watch pause --all --reason "watched elsewhere"'
        )
        yield warning(f"several hosts decide in turn: {join_names(sorted({*turns}))}", fix)
    else:
        yield ok("no alternating hosts in the last week")
