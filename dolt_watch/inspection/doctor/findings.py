"""Findings: ok, a warning or a failure, and the fix.

Each check is a function of the ``DoctorContext`` that yields findings. No check writes or
dispatches: probes are rolled back, and targets report their capacity only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from dolt_watch.errors import DoltWatchError
from dolt_watch.sanitize import sanitize

LONGEST = 5
"""Maximum number of beads that are named. The rest is counted."""


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, but needs attention."""
    FAILURE = "failure"


class Finding(NamedTuple):
    """The result of one check."""

    level: Level
    says: str
    fix: str = ""
    """A command, or a line to change."""
    exit_code: int = 0
    check: str = ""
    """The name of the check."""


def ok(says: str) -> Finding:
    return Finding(Level.OK, sanitize(says))


def warning(says: str, fix: str) -> Finding:
    return Finding(Level.WARNING, sanitize(says), sanitize(fix, 1000))


def failure(says: str, fix: str, exit_code: int = 1) -> Finding:
    return Finding(Level.FAILURE, sanitize(says), sanitize(fix, 1000), exit_code)


def failed(error: DoltWatchError) -> Finding:
    """Return an error as a finding, with its exit code."""
    where = f" ({error.where})" if error.where else ""
    return failure(
        error.message + where, error.fix or "run the command with --debug", error.exit_code
    )


def named(check: str, found: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings with the name of their check. An error is a finding too, and the last one."""
    try:
        for one in found:
            yield one._replace(check=check)
    except DoltWatchError as error:
        yield failed(error)._replace(check=check)


def join_names(beads: Sequence[str]) -> str:
    """Return the first few names and the number of the others: 'bd-1, bd-2 and 7 more'."""
    more = len(beads) - LONGEST
    return ", ".join(beads[:LONGEST]) + (f" and {more} more" if more > 0 else "")


def version_tuple(version: str) -> tuple[int, ...]:
    """Return the first three numbers of a version, for comparisons."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))
