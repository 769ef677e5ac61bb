"""Detection of edits of a bead since an entry.

``bead_hash`` decides, over the columns that the entry's own rule used. A change of the rule is no
edit of the bead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from dolt_watch.core.model import LedgerEntry, Rule
from dolt_watch.core.rules.compiled_rule import CompiledRule, compile_for
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.ledger.writer import bead_hash


class EditDetector:
    """Detects edits, for the ledger at one commit.

    The rules of that time are read only if a hash differs, which is rare.
    """

    def __init__(self, engine: Engine, head: str) -> None:
        self.engine, self.head = engine, head
        self._known: dict[tuple[str, str], CompiledRule | None] = {}

    def edited_since(
        self, entry: LedgerEntry, row: Mapping[str, Any], compiled: CompiledRule | None
    ) -> bool:
        """Return whether the bead was edited since the entry.

        If history doesn't contain the rule of the entry, the bead counts as edited.

        Args:
            entry: The entry.
            row: The bead's row.
            compiled: The rule of the bead now.
        """
        if not entry.bead_hash or bead_hash(row, compiled) == entry.bead_hash:
            return False
        then = self._observed(entry)
        was = self._asked(entry.settings_hash, entry.rule, list(then))
        if was is None:
            return True
        return bead_hash(row, was) != entry.bead_hash and not self._alike(entry, then, row, was)

    def _alike(
        self, entry: LedgerEntry, then: Mapping[str, Any], row: Mapping[str, Any], was: CompiledRule
    ) -> bool:
        """Return whether columns were added or removed, and the cells of both rows are the same.

        Such a migration is no edit.
        """
        if bead_hash(then, was) != entry.bead_hash:
            # The entry may depend on uncommitted changes that its own commit included.
            return False
        shared = then.keys() & row.keys()
        one, other = ({name: cells[name] for name in shared} for cells in (then, row))
        return bead_hash(one, was) == bead_hash(other, was)

    def has_observed(self, entry: LedgerEntry) -> bool:
        """Return whether history has the commit that the entry's decision saw.

        ``entry.observed`` is text that another program may have written. It may be part of SQL only
        if it is a commit that HEAD reaches, since another server may not have any other.
        """
        known = self.engine.commit_of(entry.observed) is not None
        return known and self.engine.is_ancestor(entry.observed, self.head)

    def _observed(self, entry: LedgerEntry) -> Mapping[str, Any]:
        """Return the row that the entry's decision saw, with the columns of that commit.

        Empty if history has none.
        """
        if not self.has_observed(entry):
            return {}
        names = list(self.engine.columns("issues", entry.observed))
        cells = ", ".join(f"`{name}`" for name in names)
        # As a parameter, DoltLite would take a quoted name that is gone today for a text
        # (tests/conformance/test_dialect.py).
        sql = f"SELECT {cells} FROM issues AS OF '{entry.observed}' WHERE id = ?"
        rows = self.engine.query(sql, (entry.bead,)) if names else ()
        return next((dict(zip(names, row, strict=True)) for row in rows), {})

    def _asked(self, settings: str, rule: str, then: Sequence[str]) -> CompiledRule | None:
        if (settings, rule) not in self._known:
            self._known[settings, rule] = self._read(settings, rule, then)
        return self._known[settings, rule]

    def _read(self, settings: str, rule: str, then: Sequence[str]) -> CompiledRule | None:
        """Return the entry's rule from the text of its settings.

        Only the rule's expressions are read, for the columns that they use. ``then``: the columns
        of `issues` at the time, which the rule may use even if they are gone.
        """
        try:
            texts = self.engine.query(
                "SELECT text FROM watch_settings AS OF ? WHERE hash = ?", (self.head, settings)
            )
            for one in orjson.loads(texts[0][0])["rules"] if texts else ():
                if one["name"] == rule:
                    asks = Rule(
                        rule, when=one["when"], running=one["running"], order_by=one["order_by"]
                    )
                    columns = {**dict.fromkeys(then, ""), **self.engine.columns("issues")}
                    return compile_for(asks, columns, self.engine.dialect)
        except (DoltWatchError, ValueError, TypeError, KeyError, AttributeError):
            pass  # The text was imported, or has the form of another program.
        return None
