"""The differences between the recorded releases of bd."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    name: str
    schema: int
    """The highest version in ``schema_migrations``."""
    recording: str
    """The folder of its recording, below ``tests/recordings``."""
    sweeps: bool = False
    """A command that may write first commits what is uncommitted, as 'schema: auto-migrate'."""
    typed_targets: bool = True
    """A dependency's target has a column of its own for issues, wisps and external targets."""
    keeps_blocked: bool = True
    """``is_blocked`` holds whether the bead is blocked."""
    events_ignored: bool = False
    """``events`` is in ``dolt_ignore``: no commit holds it."""
    leases: bool = False
    """A claim takes a lease, and each write of a row sets its ``row_lock``."""


DIALECTS = {
    each.name: each
    for each in (
        Dialect("1.0.2", 32, "bd-1.0.2", sweeps=True, typed_targets=False, keeps_blocked=False),
        Dialect("1.2.2", 53, "bd-1.2.2"),
        Dialect("1.3", 65, "bd-1.3-main", events_ignored=True, leases=True),
    )
}
NEWEST = "1.3"
DEFAULT = "1.0.2"
"""The dialect of a test run that names none."""
VARIABLE = "BD_STANDIN_DIALECT"


def of_schema(version: int) -> Dialect:
    """The dialect of a tracker whose schema has this version. Raises LookupError."""
    for dialect in DIALECTS.values():
        if dialect.schema == version:
            return dialect
    raise LookupError(f"no recorded bd has schema version {version}")
