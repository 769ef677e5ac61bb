"""Did somebody edit a bead since an entry of ours?

Told by ``bead_hash``, over the columns that the entry's own rule asked: another rule is nobody's
edit.
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
    """As the ledger at one commit has it.

    What rules were like is read only where a hash differs: seldom.
    """

    def __init__(self, engine: Engine, head: str) -> None:
        self.engine, self.head = engine, head
        self._known: dict[tuple[str, str], CompiledRule | None] = {}

    def edited_since(
        self, entry: LedgerEntry, row: Mapping[str, Any], compiled: CompiledRule | None
    ) -> bool:
        """``compiled``: the rule that has the bead now.

        Where history does not hold what the entry's was, it counts as an edit.
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
        """Return whether columns came or went since, and those of both rows say the same: a
        migration is nobody's edit.
        """
        if bead_hash(then, was) != entry.bead_hash:
            return False  # the entry may rest on what its own commit swept in
        shared = then.keys() & row.keys()
        one, other = ({name: cells[name] for name in shared} for cells in (then, row))
        return bead_hash(one, was) == bead_hash(other, was)

    def _observed(self, entry: LedgerEntry) -> Mapping[str, Any]:
        """Return the row that the entry's decision saw, with the columns of that commit; empty
        where history has none.

        ``entry.observed`` is text that another program may have written. It is part of the SQL
        only where it is a commit that HEAD reaches: another server may not hold any other.
        """
        known = self.engine.commit_of(entry.observed) is not None
        if not known or not self.engine.is_ancestor(entry.observed, self.head):
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
        """Of the settings' text only the rule's expressions: they say which columns it asks.

        ``then``: columns of `issues` at the time, which the rule may ask although they are gone.
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
            pass  # somebody's import, or of a program that said it otherwise
        return None
