"""All checks, in the order in which one rests on another."""

from __future__ import annotations

from collections.abc import Iterator

from dolt_watch.doctor import Case, Check, Finding, attempt, history, rules, saved, server, tables, work

SERVER: dict[str, Check] = {
    "connection": server.connection, "version": server.version, "tls": server.tls, "privileges": server.privileges,
}  # fmt: skip
DATABASE: dict[str, Check] = {
    "schema": tables.schema,
    "tracker": tables.tracker,
    "events": tables.events,
    "project": tables.project,
    "local": tables.local,
}
BEADS: dict[str, Check] = {"rules": rules.rules, "clock": server.clock, "history": history.depth}
OURS: dict[str, Check] = {
    "cursor": history.cursor, "merge": history.merge, "uncommitted": history.uncommitted, "recorded": history.recorded,
    "program": history.program, "hosts": history.hosts, "worker": work.worker, "beads": work.beads, "switches": work.switches, "saved": saved.saved,
}  # fmt: skip


def examine(case: Case) -> Iterator[Finding]:
    """Where the database is not usable, what can be said without it."""
    yield from attempt(SERVER, case)
    usable = True
    for name, check in DATABASE.items():
        if usable:
            for finding in attempt({name: check}, case):
                usable = usable and finding.exit_code < 2
                yield finding
    if case.engine.columns("issues"):
        yield from attempt(BEADS, case)
    if usable:
        yield from attempt(OURS, case)
