"""Differences between the recorded releases of bd."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dialect:
    name: str
    schema: int
    """The highest version in ``schema_migrations``."""
    recording: str
    """Folder of the recording, below ``tests/recordings``."""
    sweeps: bool = False
    """Whether a writing command first commits uncommitted rows, as 'schema: auto-migrate'."""
    typed_targets: bool = True
    """Whether a dependency has separate columns for issues, wisps and external targets."""
    keeps_blocked: bool = True
    """Whether the column ``is_blocked`` exists."""
    events_ignored: bool = False
    """Whether ``dolt_ignore`` contains ``events``, so that no commit contains the table."""
    leases: bool = False
    """Whether a claim creates a lease, and each write of a row sets its ``row_lock``."""


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
"""Dialect of a test run that names no dialect."""
VARIABLE = "BD_STANDIN_DIALECT"


def of_schema(version: int) -> Dialect:
    """Return the dialect of a schema version. Raises LookupError."""
    for dialect in DIALECTS.values():
        if dialect.schema == version:
            return dialect
    raise LookupError(f"no recorded bd has schema version {version}")
