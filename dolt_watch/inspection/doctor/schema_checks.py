"""Checks of the database: its tables, its project, and that local tables are not in history."""

from __future__ import annotations

from collections.abc import Iterator

from dolt_watch.beads.schema import SUPPORTED, tracker_schema
from dolt_watch.errors import DatabaseError, NotMigrated
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import Finding, failure, ok, warning
from dolt_watch.ledger.schema import LATEST_VERSION, LOCAL, check_database, check_project

INIT = "dolt_watch init   (as a user who may create tables)"


def schema(case: DoctorContext) -> Iterator[Finding]:
    check_project(case.engine, None)
    check_database(case.engine, None)
    yield ok(f"version {LATEST_VERSION}, as this program needs")


def tracker(case: DoctorContext) -> Iterator[Finding]:
    """Check the generation of bd's tables by their shape. The number of their schema is only
    shown.
    """
    shape = tracker_schema(case.engine)
    shape.require()
    try:
        rows = case.engine.query("SELECT MAX(version) FROM schema_migrations")
        number = f" (schema {rows[0][0]})" if rows and rows[0][0] is not None else ""
    except DatabaseError:  # the table is internal to bd, and other releases may change it
        number = ""
    if shape.generation:
        yield ok(f"tables of {shape.generation}{number}: supported")
    else:
        yield warning(
            f"no tested release of bd makes tables of this shape{number}; supported: {SUPPORTED}",
            "if bd's migration was interrupted: `bd migrate`, then `bd dolt commit`; see"
            " docs/reference/compatibility.md",
        )


def events(case: DoctorContext) -> Iterator[Finding]:
    """Check whether commits contain bd's events. Since bd 1.3 none does."""
    if tracker_schema(case.engine).events_in_history:
        yield ok("in history: each is a sign of life, and names its actor")
    else:
        yield ok(
            "bd keeps them out of history: decisions don't use them, and `replay --verify` expects"
            " none"
        )


def project(case: DoctorContext) -> Iterator[Finding]:
    check_database(case.engine, case.settings.project_id)
    yield ok(
        case.settings.project_id
        or "not checked: a setting names the database, not .beads/metadata.json"
    )


def local(case: DoctorContext) -> Iterator[Finding]:
    """Check that the cursor and the saved state are not in history.

    They belong to this server only. In history they would conflict with those of every clone.
    """
    engine = case.engine
    missing = [table for table in LOCAL if not engine.columns(table)]
    if missing:
        raise NotMigrated(
            f"Not in this database, or not on this branch: {', '.join(missing)}.", fix=INIT
        )
    if not engine.query("SELECT 1 FROM watch_cursor WHERE id = 1"):
        raise NotMigrated("watch_cursor has no row.", fix=INIT)
    # In history: the next merge conflicts. Not ignored: the next commit of all tables puts them
    # there.
    tracked = [table for table in LOCAL if engine.columns(table, case.poll.head)]
    loose = sorted({*LOCAL} & engine.dirty() - {*tracked})
    if not tracked and not loose:
        yield ok("cursor and saved state exist and are not in history")
        return
    rows = ", ".join(f"('{table}', 1)" for table in LOCAL)
    says = f"not ignored: {', '.join(loose)}, so the next commit of all tables includes them"
    remove = ""
    if tracked:
        says = f"in history: {', '.join(tracked)}"
        names = ", ".join(f"'{table}'" for table in tracked)
        remove = f"CALL DOLT_RM('--cached', {names}); "
    yield failure(
        says,
        f"As an administrator: REPLACE INTO dolt_ignore (pattern, ignored) VALUES {rows}; CALL"
        f" DOLT_ADD('dolt_ignore'); {remove}CALL DOLT_COMMIT('-m', 'dolt-watch: keep local tables"
        " out of history');",
    )
