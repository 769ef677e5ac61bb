"""Did somebody edit a bead since an entry of ours? Told by ``bead_hash``, over the columns that the entry's own rule asked: another rule is nobody's edit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from dolt_watch.core.rules import CompiledRule, compile_for
from dolt_watch.engines import Engine
from dolt_watch.errors import DoltWatchError
from dolt_watch.ledger import bead_hash
from dolt_watch.model import Entry, Rule


class Edits:
    """As the ledger at one commit has it. What rules were like is read only where a hash differs: seldom."""

    def __init__(self, engine: Engine, head: str) -> None:
        self.engine, self.head = engine, head
        self._known: dict[tuple[str, str], CompiledRule | None] = {}

    def since(self, entry: Entry, row: Mapping[str, Any], compiled: CompiledRule | None) -> bool:
        """``compiled``: the rule that has the bead now. Where history does not hold what the entry's was, it counts as an edit."""
        if not entry.bead_hash or bead_hash(row, compiled) == entry.bead_hash:
            return False
        was = self._asked(entry.settings_hash, entry.rule)
        return was is None or bead_hash(row, was) != entry.bead_hash

    def _asked(self, settings: str, rule: str) -> CompiledRule | None:
        if (settings, rule) not in self._known:
            self._known[settings, rule] = self._read(settings, rule)
        return self._known[settings, rule]

    def _read(self, settings: str, rule: str) -> CompiledRule | None:
        """Of the settings' text only the rule's expressions: they say which columns it asks."""
        try:
            texts = self.engine.query(
                f"SELECT text FROM watch_settings AS OF '{self.head}' WHERE hash = ?", (settings,)
            )
            for one in orjson.loads(texts[0][0])["rules"] if texts else ():
                if one["name"] == rule:
                    asks = Rule(rule, when=one["when"], running=one["running"], order_by=one["order_by"])
                    return compile_for(asks, self.engine.columns("issues"), self.engine.dialect)
        except (DoltWatchError, ValueError, TypeError, KeyError, AttributeError):
            pass  # somebody's import, or of a program that said it otherwise
        return None
