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
from dolt_watch.inspection.doctor.context import Check, DoctorContext, run_checks
from dolt_watch.inspection.doctor.findings import Finding

SERVER: dict[str, Check] = {
    "connection": server_checks.connection,
    "version": server_checks.version,
    "tls": server_checks.tls,
    "privileges": server_checks.privileges,
}
DATABASE: dict[str, Check] = {
    "schema": schema_checks.schema,
    "tracker": schema_checks.tracker,
    "events": schema_checks.events,
    "project": schema_checks.project,
    "local": schema_checks.local,
}
BEADS: dict[str, Check] = {
    "rules": rule_checks.rules,
    "clock": server_checks.clock,
    "history": history_checks.depth,
}
OURS: dict[str, Check] = {
    "cursor": history_checks.cursor,
    "merge": history_checks.merge,
    "uncommitted": history_checks.uncommitted,
    "recorded": history_checks.recorded,
    "program": history_checks.program,
    "hosts": history_checks.hosts,
    "worker": workload_checks.worker,
    "beads": workload_checks.beads,
    "switches": workload_checks.switches,
    "saved": saved_state_checks.saved,
}


def run_all(case: DoctorContext) -> Iterator[Finding]:
    """Run all checks. If the database is not usable, only those that don't need it."""
    yield from run_checks(SERVER, case)
    usable = True
    for name, check in DATABASE.items():
        if usable:
            for finding in run_checks({name: check}, case):
                usable = usable and finding.exit_code < 2
                yield finding
    if case.engine.columns("issues"):
        yield from run_checks(BEADS, case)
    if usable:
        yield from run_checks(OURS, case)
