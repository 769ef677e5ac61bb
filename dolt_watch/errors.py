"""Everything that can go wrong, with what mends it.

An error says what was wrong (its message), where (``where``), and what mends it (``fix``: a
command or a line to change). Its class carries the exit code of the command that it ends, so
that a CronJob's log and its colour agree:

====
=======================================================================================================
code  meaning ====
=======================================================================================================
1     a dispatch failed or is unknown, the target is down while beads wait, a check did not hold
2     usage, settings, an expression, metadata.json, another project's id 3     the database:
unreachable, wrong password, missing, no beads database, not migrated, a newer schema ====
=======================================================================================================
"""

from __future__ import annotations

from typing import Self


class DoltWatchError(Exception):
    """dolt_watch cannot go on."""

    exit_code = 1

    def __init__(
        self, message: str | None = None, *, where: str | None = None, fix: str | None = None
    ) -> None:
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.where = where
        self.fix = fix
        super().__init__(self.message)

    def with_detail(self, text: str) -> Self:
        """Append ``text`` to the message, and return the error."""
        self.message += text
        return self

    def with_fix(self, fix: str) -> Self:
        """Set ``fix`` unless the error has one, and return the error."""
        self.fix = self.fix or fix
        return self

    def __str__(self) -> str:
        lines = [self.message]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.fix:
            lines.append(f"  fix:   {self.fix}")
        return "\n".join(lines)


# -- exit 2: what the user wrote --------------------


class SettingsError(DoltWatchError):
    """The settings are wrong."""

    exit_code = 2


class RuleError(SettingsError):
    """A rule's expression is not usable."""


class NoSuchCommit(SettingsError):
    """History has no commit of this name.

    ``whole``: a full hash was named, not the beginning of one.
    """

    def __init__(
        self, message: str, *, whole: bool, where: str | None = None, fix: str | None = None
    ) -> None:
        self.whole = whole
        super().__init__(message, where=where, fix=fix)


# -- exit 1: what happened outside --------------------


class OutcomeNotRecorded(DoltWatchError):
    """A target answered, and that could not be written."""


class MissingRule(DoltWatchError):
    """The rule that guards a claim or a reap is missing: an error in dolt_watch itself.

    Nothing is written.
    """


# -- exit 3: the database --------------------


class DatabaseError(DoltWatchError):
    """The database cannot be used."""

    exit_code = 3


class Unreachable(DatabaseError):
    """The database server cannot be reached."""


class AccessDenied(DatabaseError):
    """The database refused the user, the password, or a privilege."""


class BranchDenied(AccessDenied):
    """The user may not write to this branch."""


class ReadOnly(AccessDenied):
    """The database server accepts no writes."""


class NoSuchDatabase(DatabaseError):
    """The server has no such database."""


class OlderDolt(DatabaseError):
    """This Dolt server is older than the one that wrote its data:

    Dolt 2 writes tables that Dolt 1 cannot open.
    """


class NotABeadsDatabase(DatabaseError):
    """This is not a beads database."""

    def __init__(self) -> None:
        super().__init__(
            "this database has no table 'issues': it is not a beads database",
            fix=(
                "name the database that bd uses: `bd init` makes one, .beads/metadata.json names it"
            ),
        )


class NotMigrated(DatabaseError):
    """The tables of dolt_watch are not there yet."""

    mended_by = "dolt_watch init, which on Kubernetes is the Job dolt-watch-init"
    """The Job's name is that in cronjobs/."""


class NewerSchema(DatabaseError):
    """The tables were written by a newer dolt_watch."""


class NoSuchTable(DatabaseError):
    """A table does not exist; ``table`` names it."""

    def __init__(self, table: str, **more: str | None) -> None:
        self.table = table
        super().__init__(f"table {table} does not exist", **more)


class ServerPanic(DatabaseError):
    """The database server failed inside a statement (a Go panic)."""


class SchemaChanged(DatabaseError):
    """A column that a rule uses is gone from the beads schema."""


class UnsupportedSchema(DatabaseError):
    """A table or column of beads that dolt_watch needs does not exist in this tracker."""


# -- inside the loop: caught there, never shown --------------------


class Conflict(DoltWatchError):
    """Somebody else wrote first: the transaction is rolled back; look again and decide anew.

    Dolt: 1213, duplicate key (1062) on an insert of ours, 1105 'constraint violations' or
    'optimistic lock failed'. DoltLite: a UNIQUE constraint, SQLITE_BUSY, SQLITE_BUSY_SNAPSHOT.
    """


class Unexplained(DatabaseError):
    """The rows that a diff shows do not account for what changed: the table's schema changed on
    the way.
    """


class MigrationInProgress(Conflict):
    """bd's schema migration is not committed; run `bd dolt commit`"""


class MergeInProgress(Conflict):
    """Somebody's merge, conflicts or constraint violations stand unfinished in this database:
    nothing is written until they are resolved.
    """


class UnknownCommit(DoltWatchError):
    """A commit hash that this database's history does not hold (any more)."""


class NothingToCommit(DoltWatchError):
    """DOLT_COMMIT had nothing to say; the SQL transaction stands committed all the same."""


class BeadNotFound(DoltWatchError):
    """The bead's row is gone, so a row that refers to it cannot be written (1452, or 1105 on a
    foreign key).
    """
