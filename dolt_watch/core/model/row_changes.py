"""Row changes of one commit, with each rule's answer before and after."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dolt_watch.core.model.bead import EMPTY
from dolt_watch.core.model.ledger_entry import LedgerEntry

# -- what the feed brings --------------------


class RuleAnswers(NamedTuple):
    """What the database says of one rule and one changed row."""

    matched: bool
    matches: bool
    was_running: bool
    runs: bool
    rank: tuple[Any, ...] = ()
    """Values of the ``order_by`` keys after the change."""


class RowChange(NamedTuple):
    """One row of a watched table before and after, in one commit.

    For ``issues``, with the answer of each rule before and after.
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
    """The row's own id, where it has one (``events``, ``comments``), or what tells it apart (a
    label).
    """
    at: datetime | None = None
    """The row's own time (created_at, updated_at), None where it has none."""
    who: str = ""
    answers: tuple[RuleAnswers, ...] = ()
    """For ``issues``: one a rule, in the rules' order."""
    acts: tuple[Act, ...] = ()
    """For ``issues``, where a merge changed the row of a bead in the ledger: what the side lines
    did to it, oldest first.
    """
    identity: tuple[Any, ...] = ()
    """For ``issues``, of a row that was added or removed: title and ``created_at``, which
    survive a change of the id.
    """

    @property
    def nothing(self) -> bool:
        """Whether a row of ``issues`` was only stored anew, because its table's schema changed:
        no cell and no answer differs.
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
    """Over the commit's own edge."""
    tokens: frozenset[str]
    """Tokens of the attempts that this line had seen: those in the ledger as this commit has it."""


class CommitChanges(NamedTuple):
    """All row changes of one commit, and the ledger entries that it added."""

    commit: str
    date: datetime
    author: str
    rows: tuple[RowChange, ...] = ()
    entries: tuple[LedgerEntry, ...] = ()
    altered: tuple[tuple[str, int, str], ...] = ()
    """Rows of the ledger, which is append-only, that were 'modified' or 'removed' here: bead,
    version, which of both.
    """
    merge: bool = False
    """Does this commit join two lines of history?"""
    migration: bool = False
    """Is it a commit of a schema migration of bd, and touches rows of `issues` without changing
    what they say?

    Asked only where of a row nothing but `updated_at` differs: elsewhere it is False.
    """
