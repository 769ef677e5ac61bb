"""All errors, with their exit codes.

An error has a message (what is wrong), ``where`` (the place) and ``fix`` (a command or a change).
Its class defines the exit code of the command that it ends:

1. A dispatch failed or its outcome is unknown, the target is down while beads wait, or a check
   failed.
2. Usage, settings, a rule's expression, metadata.json, or a project ID mismatch.
3. The database: unreachable, wrong password, missing, not a beads database, not migrated, or
   migrated by a newer version.
"""

from __future__ import annotations

from typing import Self


class DoltWatchError(Exception):
    """dolt_watch can't continue."""

    exit_code = 1

    def __init__(
        self, message: str | None = None, *, where: str | None = None, fix: str | None = None
    ) -> None:
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.where = where
        self.fix = fix
        super().__init__(self.message)

    @property
    def clause(self) -> str:
        """The message without its full stop, to embed in a sentence."""
        return self.message.removesuffix(".")

    def with_detail(self, text: str) -> Self:
        """Append a text to the message's sentence, and return the error."""
        self.message = f"{self.clause}{text}" + "." * self.message.endswith(".")
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
    """A rule's expression is invalid."""


class NoSuchCommit(SettingsError):
    """History has no such commit."""

    def __init__(
        self, message: str, *, whole: bool, where: str | None = None, fix: str | None = None
    ) -> None:
        self.whole = whole
        """Whether a full hash was specified, and not the beginning of one."""
        super().__init__(message, where=where, fix=fix)


# -- exit 1: what happened outside --------------------


class OutcomeNotRecorded(DoltWatchError):
    """The answer of a target could not be recorded."""


class MissingRule(DoltWatchError):
    """The rule that guards a claim or a reap is missing. Nothing is written.

    This is an error in dolt_watch itself.
    """


# -- exit 3: the database --------------------


class DatabaseError(DoltWatchError):
    """The database can't be used."""

    exit_code = 3


class Unreachable(DatabaseError):
    """Can't reach the database server."""


class AccessDenied(DatabaseError):
    """The database refused the user, the password, or a privilege."""


class BranchDenied(AccessDenied):
    """The database user has no permission to write to this branch."""


class ReadOnly(AccessDenied):
    """The database server accepts no writes."""


class NoSuchDatabase(DatabaseError):
    """The server has no such database."""


class OlderDolt(DatabaseError):
    """This Dolt server is older than the server that wrote its data.

    Dolt 2 writes tables that Dolt 1 can't open.
    """


class NotABeadsDatabase(DatabaseError):
    """This is not a beads database."""

    def __init__(self) -> None:
        super().__init__(
            "This database has no table 'issues', so it is not a beads database.",
            fix=(
                "Specify the database that bd uses. `bd init` creates it, and .beads/metadata.json"
                " contains its name."
            ),
        )


class NotMigrated(DatabaseError):
    """The tables of dolt_watch don't exist yet."""

    FIX = (
        "Run `dolt_watch init` as a user who may create tables. On Kubernetes, the Secret"
        " dolt-watch-admin names that user."
    )
    """The fix. On Kubernetes, each pod's init container runs `init` (cronjobs/)."""


class NewerSchema(DatabaseError):
    """The tables were written by a newer dolt_watch."""


class NoSuchTable(DatabaseError):
    """A table doesn't exist."""

    def __init__(self, table: str, **more: str | None) -> None:
        self.table = table
        super().__init__(f"The table {table} does not exist.", **more)


class ServerPanic(DatabaseError):
    """The database server failed inside a statement (a Go panic)."""


class SchemaChanged(DatabaseError):
    """The beads schema no longer contains a column that a rule uses."""


class UnsupportedSchema(DatabaseError):
    """A table or column that dolt_watch requires doesn't exist in this tracker."""


# -- inside the loop: caught there, never printed --------------------


class Conflict(DoltWatchError):
    """Another transaction committed first. The transaction is rolled back; poll and decide again.

    Dolt reports 1213, 1062 (duplicate key of the inserted entry), or 1105 with 'constraint
    violations' or 'optimistic lock failed'. DoltLite reports a UNIQUE constraint, SQLITE_BUSY or
    SQLITE_BUSY_SNAPSHOT.
    """


class Unexplained(DatabaseError):
    """The rows of a diff don't explain the new hash of a table.

    The schema of the table changed between the two commits.
    """


class MigrationInProgress(Conflict):
    """bd's schema migration is not committed. Run `bd dolt commit`."""


class MergeInProgress(Conflict):
    """The database has an unfinished merge, conflicts or constraint violations.

    Nothing is written until they are resolved.
    """


class UnknownCommit(DoltWatchError):
    """History doesn't contain this commit, or no longer does."""


class NothingToCommit(DoltWatchError):
    """DOLT_COMMIT found no changes. The SQL transaction is committed anyway."""


class BeadNotFound(DoltWatchError):
    """The bead was deleted, so no row that refers to it can be written.

    Dolt reports 1452, or 1105 on a foreign key.
    """
