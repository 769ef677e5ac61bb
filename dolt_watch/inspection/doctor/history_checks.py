"""History and the working set: where the cursor stands, what holds decisions up, and who else
decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import groupby

from dolt_watch import __version__
from dolt_watch.beads.migration import NOT_COMMITTED, uncommitted_migration
from dolt_watch.checkpoint.poll import TableState
from dolt_watch.config import hash_of_text
from dolt_watch.core.model import entry_payloads
from dolt_watch.history.reader import first_commit, is_cut
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
"""Rows that stood uncommitted so long, though they should have been adopted, were not seen by
any tick.
"""


def cursor(case: DoctorContext) -> Iterator[Finding]:
    look = case.look
    if not look.commit:
        yield ok("cursor", "nothing folded yet: the first tick takes the beads as they are")
    elif not case.engine.is_ancestor(look.commit, look.head):
        says = (
            f"history was rewritten: it no longer holds {look.commit[:8]}, the last commit folded"
        )
        yield warning(
            "cursor",
            says,
            "dolt_watch tick   (makes the state anew; what was dispatched is not dispatched again)",
        )
    else:
        behind = look.head != look.commit
        yield ok(
            "cursor",
            f"at {look.commit[:8]}" + (f", HEAD has moved on to {look.head[:8]}" if behind else ""),
        )


def merge(case: DoctorContext) -> Iterator[Finding]:
    if case.engine.has_unfinished_merge():
        yield failure(
            "merge",
            "a merge, conflicts or constraint violations stand unfinished: nothing is decided"
            " meanwhile",
            "finish it (CALL DOLT_CONFLICTS_RESOLVE, CALL DOLT_COMMIT), or take it back: CALL"
            " DOLT_MERGE('--abort')",
        )
    else:
        yield ok("merge", "none in progress")


def uncommitted(case: DoctorContext) -> Iterator[Finding]:
    look, settings = case.look, case.settings
    dirty = case.engine.dirty()
    since = {
        table: _since(look.seen.get(table), hash)
        for table, hash in look.hashes.items()
        if table in dirty
    }
    told = ", ".join(
        f"{table} for {format_span(look.now - at)}" if at else f"{table} since just now"
        for table, at in sorted(since.items())
    )
    old = [
        at
        for at in since.values()
        if at is not None and look.now - at > max(FORGOTTEN, settings.settle)
    ]
    ours = sorted(dirty & {"watch_decision", "watch_settings", "watch_migration"})
    if ours:
        fix = (
            "see what changed: dolt diff "
            + " ".join(ours)
            + "; then commit it, or CALL DOLT_CHECKOUT('"
            + "', '".join(ours)
            + "')"
        )
        yield warning("uncommitted", f"somebody changed {', '.join(ours)} by hand", fix)
    if uncommitted_migration(case.engine):
        yield failure("uncommitted", NOT_COMMITTED, "bd dolt commit")
    elif since and not settings.adopt:
        yield warning(
            "uncommitted", f"{told}: nothing is decided on it", "bd dolt commit, or adopt = true"
        )
    elif old:
        yield warning("uncommitted", f"{told}: no tick has adopted it", "dolt_watch tick")
    else:
        yield ok(
            "uncommitted",
            f"{told}: the next tick commits it" if since else "nothing in beads' tables",
        )


def _since(seen: TableState | None, hash: str) -> datetime | None:
    """Known only where a tick saw it, as it stands now."""
    return seen.since if seen is not None and seen.dirty and seen.hash == hash else None


def depth(case: DoctorContext) -> Iterator[Finding]:
    """Check that history is whole.

    A shallow clone (DOLT_CLONE --depth) has its newest commits only.
    """

    head = str(case.engine.query("SELECT HASHOF('HEAD')")[0][0])
    first = first_commit(case.engine, head)
    if is_cut(case.engine, first):
        says = (
            f"a shallow clone, which begins at {first.hash[:8]}, {iso(first.date)}: why, events and"
            " replay begin there"
        )
        fix = "clone it again without --depth, or read history where the clone came from"
        yield warning("history", says, fix)
    else:
        yield ok("history", f"whole, since {iso(first.date)}")


def recorded(case: DoctorContext) -> Iterator[Finding]:
    """Else nobody could decide again what was decided under them."""
    texts: dict[str, str] = dict(case.engine.query("SELECT hash, text FROM watch_settings"))
    wrong = sorted(hash for hash, text in texts.items() if hash_of_text(text) != hash)
    used = case.engine.query("SELECT DISTINCT settings_hash FROM watch_decision")
    gone = sorted({hash for (hash,) in used} - {"", *texts})
    if wrong or gone:
        says = (
            f"changed since: {', '.join(wrong)}" if wrong else f"not in history: {', '.join(gone)}"
        )
        yield failure(
            "recorded",
            f"settings that decisions were made under are {says}",
            "find who did it, SELECT * FROM dolt_diff_watch_settings, and put the rows back from"
            " that commit's parent",
        )
    elif case.policy.settings_hash in texts:
        yield ok("recorded", f"{case.policy.settings_hash} stands in history")
    else:
        yield ok(
            "recorded",
            f"{case.policy.settings_hash} is new: it goes into history with the next decision",
        )


def program(case: DoctorContext) -> Iterator[Finding]:
    wrote = next(
        (
            entry_payloads.Envelope.decode(entry.detail).program
            for entry in read_entries(case.engine, limit=1)
        ),
        "",
    )
    if version_tuple(wrote) > version_tuple(__version__):
        fix = f"upgrade this one to {wrote} or later: python -m pip install --upgrade dolt-watch"
        yield warning(
            "program", f"this is {__version__}, the last decision was written by {wrote}", fix
        )
    else:
        yield ok(
            "program", f"{__version__}; the last decision was written by {wrote or 'nobody yet'}"
        )


def hosts(case: DoctorContext) -> Iterator[Finding]:
    """A host that decides again after another did: workers on one server, or watchers on clones
    that sync. Only who runs them can tell.

    CronJobs have a new host name at each run: such a name does not come back.
    """
    lately = read_entries(case.engine, since=case.look.now - LATELY)
    turns = [
        host
        for host, _ in groupby(
            entry_payloads.Envelope.decode(entry.detail).host for entry in reversed(lately)
        )
    ]
    back = sorted({host for host in turns if turns.count(host) > 1})
    if back:
        fix = (
            "well, if they are workers on this one server; of clones that sync by push and pull"
            " only one may be watched: "
        )
        fix += 'dolt_watch pause --all --reason "watched elsewhere" on the others'
        yield warning(
            "hosts", f"several hosts decide by turns: {join_names(sorted(set(turns)))}", fix
        )
    else:
        yield ok("hosts", "no two by turns in the last week")
