"""Checks of the database server: its response time, version, encryption, privileges, and clock."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import timedelta

from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.clock import server_time
from dolt_watch.errors import (
    AccessDenied,
    BranchDenied,
    Conflict,
    DoltWatchError,
    NoSuchTable,
    ReadOnly,
    Unreachable,
)
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import (
    LONGEST,
    Finding,
    failure,
    join_names,
    ok,
    version_tuple,
    warning,
)
from dolt_watch.ledger.privileges import REQUIRED, Privilege, grant_statements
from dolt_watch.timestamps import format_span, iso, to_utc

TRIED = {"dolt": ("1.86.4", "2.3.1"), "doltlite": ("0.51.3", "0.51.3")}
"""Engine → oldest and newest release that the tests run on."""
SLOW = 0.1
"""Maximum response time of a query in seconds. A tick sends about a dozen queries."""
SKEW = timedelta(seconds=5)
"""Maximum difference between the clocks of the database and this machine."""
AHEAD = timedelta(minutes=1)
"""Maximum time by which the date of a row can be later than the database's clock."""


def connection(case: DoctorContext) -> Iterator[Finding]:
    spans = []
    for _ in range(3):
        begin = time.perf_counter()
        case.engine.query("SELECT 1")
        spans.append(time.perf_counter() - begin)
    says = f"{case.settings.address.display_name} answers in {min(spans) * 1000:.1f} ms"
    if min(spans) > SLOW:
        yield warning(says, "run dolt_watch closer to the database")
    else:
        yield ok(says)


def version(case: DoctorContext) -> Iterator[Finding]:
    found = str(case.engine.query("SELECT DOLT_VERSION()")[0][0])
    oldest, newest = TRIED[case.engine.name]
    if version_tuple(oldest) <= version_tuple(found) <= version_tuple(newest):
        yield ok(f"{case.engine.name} {found}: supported")
    else:
        fix = (
            f"use a release from {oldest} to {newest}, or run the tests with your release:"
            " DOLT_WATCH_TEST_DATABASE=dolt://… make test"
        )
        yield warning(f"{case.engine.name} {found} is not tested", fix)


def tls(case: DoctorContext) -> Iterator[Finding]:
    address = case.settings.address
    if not isinstance(address, ServerAddress):
        return
    if address.uses_tls:  # A connection without encryption fails.
        yield ok(
            f"encrypted; verified by {address.ca or 'the certificate authorities of this system'}"
        )
    elif not ServerAddress(host=address.host, socket=address.socket).uses_tls:
        yield ok("plain text on this machine only")
    else:
        yield warning(
            f"plain text to {address.host}: hosts on the network can read and change every row",
            "give the server a certificate (tls_cert and tls_key under listener in its"
            f" config.yaml), and remove {case.settings.origins.get('database.tls', '?tls=false')}",
        )


def privileges(case: DoctorContext) -> Iterator[Finding]:
    """Check privileges with statements that need them and change nothing.

    On Dolt, a user can't read its own grants, and roles can add privileges.
    """
    address = case.settings.address
    if not isinstance(address, ServerAddress):
        return
    missing = []
    # A read-only server denies all of them, so the first denial is the answer.
    for need in REQUIRED:
        denied = _denied(case, need)
        if isinstance(denied, ReadOnly | BranchDenied):
            why = "the database is read-only: " if isinstance(denied, ReadOnly) else ""
            yield failure(why + denied.message, str(denied.fix))
            return
        if denied is not None:
            missing.append(need)
    if missing:
        user = re.sub("['`]", "", str(case.engine.query("SELECT CURRENT_USER()")[0][0]))
        grants = " ".join(grant_statements(address.database_name, user, missing))
        yield failure(
            f"{user} lacks {', '.join(f'{need.right} on {need.on}' for need in missing)}",
            f"As an administrator: {grants}",
        )
    # More privileges than required are a risk, but no problem.
    elif _denied(case, Privilege("DELETE", "issues", "DELETE FROM issues WHERE 1 = 0")) is None:
        yield ok(
            "the user has all required privileges and some that aren't required;"
            " `dolt_watch init --print-grants USER` lists the required ones"
        )
    else:
        yield ok("all required privileges")


def _denied(case: DoctorContext, need: Privilege) -> AccessDenied | None:
    try:
        with case.engine.transaction() as tx:
            tx.query(need.probe)
    except AccessDenied as error:
        return error
    except (Unreachable, Conflict):
        raise
    except DoltWatchError:
        pass  # Another check reports missing tables. A procedure fails at its option, as intended.
    return None


def clock(case: DoctorContext) -> Iterator[Finding]:
    """Compare the database's clock, which decisions use, with this machine's."""
    # The answer's travel time must not look like a difference.
    before = case.machine()
    database = server_time(case.engine)
    after = case.machine()
    skew = max(database - after, before - database, timedelta())
    if skew > SKEW:
        way = "behind" if database < before else "ahead of"
        says = (
            f"the database's clock is {format_span(skew)} {way} this machine's; decisions use the"
            " database's"
        )
        yield warning(says, "synchronize both with NTP: `timedatectl set-ntp true`")
    else:
        yield ok("the clocks of the database and of this machine agree")
    # A date in the future hides a dead agent: the bead counts as alive until then.
    for table, bead, column in (
        ("issues", "id", "updated_at"),
        ("comments", "issue_id", "created_at"),
        ("events", "issue_id", "created_at"),
    ):
        try:
            rows = case.engine.query(
                f"SELECT {bead}, {column} FROM {table} WHERE {column} > ? ORDER BY {column} DESC"
                f" LIMIT {LONGEST + 1}",
                (database + AHEAD,),
            )
        except NoSuchTable:
            continue
        if rows:
            until = to_utc(rows[0][1])
            assert until is not None
            beads = join_names(sorted({str(row[0]) for row in rows}))
            yield warning(
                f"rows of {table} have future dates, up to {iso(until)}: {beads} count as alive"
                " until then",
                "correct that machine's clock; any change updates a bead's date: bd update ID",
            )
