"""Row changes of one commit, with the answers of each rule before and after."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.core.model.bead import EMPTY
from dolt_watch.core.model.ledger_entry import LedgerEntry

# -- what the feed brings --------------------


class RuleAnswers(NamedTuple):
    """The database's answers about one rule and one changed row."""

    matched: bool
    matches: bool
    was_running: bool
    runs: bool
    rank: tuple[Any, ...] = ()
    """Values of the ``order_by`` keys after the change."""


class RowChange(NamedTuple):
    """One row of a watched table before and after one commit.

    A row of ``issues`` has the answers of each rule before and after.
    """

    table: str
    bead: str
    kind: str
    """'added', 'modified' or 'removed'."""
    changed: tuple[str, ...] = ()
    """Names of the columns that differ (``issues`` only)."""
    before: Mapping[str, Any] = EMPTY
    after: Mapping[str, Any] = EMPTY
    key: str = ""
    """The row's own id (``events``, ``comments``), or the value that identifies it (a label)."""
    at: datetime | None = None
    """The row's own time (created_at, updated_at). None if it has none."""
    who: str = ""
    answers: tuple[RuleAnswers, ...] = ()
    """For ``issues``: one for each rule, in the order of the rules."""
    acts: tuple["Act", ...] = ()
    """For ``issues``, if a merge changed the row of a bead in the ledger: the changes on the side
    lines, oldest first.
    """
    identity: tuple[Any, ...] = ()
    """For ``issues``, of an added or removed row: title and ``created_at``, which don't change with
    the id.
    """

    @property
    def nothing(self) -> bool:
        """Return whether a row of ``issues`` was only rewritten, because its table's schema
        changed: no cell and no answer differs.
        """
        return (
            self.kind == "modified"
            and not self.changed
            and all(
                one.matched == one.matches and one.was_running == one.runs for one in self.answers
            )
        )


class Act(NamedTuple):
    """One change of a bead's row on a side line that a merge brought in."""

    row: RowChange
    """The row change between this commit and its parent."""
    tokens: frozenset[str]
    """Tokens of the attempts in the ledger as of this commit."""


class CommitChanges(NamedTuple):
    """All row changes of one commit, and the ledger entries that it added."""

    commit: str
    date: datetime
    author: str
    rows: tuple[RowChange, ...] = ()
    entries: tuple[LedgerEntry, ...] = ()
    altered: tuple[tuple[str, int, str], ...] = ()
    """Rows of the append-only ledger that this commit changed: bead, version, 'modified' or
    'removed'.
    """
    merge: bool = False
    """Whether this commit joins two lines of history."""
    migration: bool = False
    """Whether this is a commit of a schema migration of bd that rewrites rows of `issues` without
    changing their content.

    It is looked up only if nothing but `updated_at` differs in a row. Otherwise it is False.
    """
