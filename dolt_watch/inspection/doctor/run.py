"""All checks, in the order in which one rests on another."""

from __future__ import annotations

from collections.abc import Iterator

from dolt_watch.inspection.doctor import (
    history_checks,
    rule_checks,
    saved_state_checks,
    schema_checks,
    server_checks,
    workload_checks,
)
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import Finding, named

SERVER = (
    server_checks.connection,
    server_checks.version,
    server_checks.tls,
    server_checks.privileges,
)
DATABASE = (
    schema_checks.schema,
    schema_checks.tracker,
    schema_checks.events,
    schema_checks.project,
    schema_checks.local,
)
BEADS = (rule_checks.rules, server_checks.clock, history_checks.history)
OURS = (
    history_checks.cursor,
    history_checks.merge,
    history_checks.uncommitted,
    history_checks.recorded,
    history_checks.program,
    history_checks.hosts,
    workload_checks.worker,
    workload_checks.beads,
    workload_checks.switches,
    saved_state_checks.saved,
)


def run_all(case: DoctorContext) -> Iterator[Finding]:
    """Run all checks. If the database is not usable, only those that don't need it."""
    for check in SERVER:
        yield from named(check.__name__, check(case))
    usable = True
    for check in DATABASE:
        for finding in named(check.__name__, check(case)) if usable else ():
            usable = usable and finding.exit_code < 2
            yield finding
    for check in (*(BEADS if case.engine.columns("issues") else ()), *(OURS if usable else ())):
        yield from named(check.__name__, check(case))
