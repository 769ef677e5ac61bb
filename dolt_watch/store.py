"""The cursor and the saved state: tables that never enter history (``dolt_ignore``), written in one fenced transaction.

The look is the one query of an idle tick. The fence makes workers on one server decide one after another: every transaction of
ours changes it, and a decision's goes ahead only if it still is the one that was decided on.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson

from dolt_watch.engines import Engine, Transaction
from dolt_watch.errors import Conflict
from dolt_watch.look import Look, Seen
from dolt_watch.model import Bead, Pause, Phase, Sign, State
from dolt_watch.times import utc


class Store:
    """Reads and writes ``watch_cursor`` and ``watch_bead``. Keeps the state in memory as long as nobody else saved."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._state: State | None = None
        self._saved = ""
        self._touched: set[str] | None = set()

    def state(self, look: Look) -> State:
        """The state as far as it is folded: the saved one, or one of our own that is ahead of it and not saved yet."""
        if self._state is None or self._saved != look.saved:
            rows = self.engine.query("SELECT record FROM watch_bead")
            beads = {bead.id: bead for bead in (bead_from(orjson.loads(record)) for (record,) in rows)}
            self._state = state_from(look.commit, beads, look.shared)
            self._saved, self._touched = look.saved, set()
        return self._state

    def ahead(self, look: Look) -> bool:
        """Is a state of ours in memory that is not saved yet, on top of what the cursor row says?"""
        return self._state is not None and self._saved == look.saved and self._state.commit != look.commit

    def advance(self, look: Look, state: State, touched: Iterable[str] | None) -> None:
        """Folded further, to be saved when the tick is done. ``touched`` None: every bead is made anew."""
        self._state, self._saved = state, look.saved
        if touched is None:
            self._touched = None
        elif self._touched is not None:
            self._touched.update(touched)

    def save(
        self, look: Look, seen: Mapping[str, Seen], due: Mapping[str, datetime | None], rules: Mapping[str, Any],
        compiled: Mapping[str, Any],
    ) -> None:  # fmt: skip
        """Cursor and state, never one alone. Raises Conflict."""
        state, touched = self.state(look), self._touched
        saved = _token()
        with self.engine.transaction() as tx:
            take_fence(tx, look.fence)
            if touched is None:
                tx.execute("DELETE FROM watch_bead")
            for bead_id in state.beads if touched is None else touched:
                bead = state.beads.get(bead_id)
                if bead is None:
                    tx.execute("DELETE FROM watch_bead WHERE bead_id = ?", (bead_id,))
                else:
                    tx.execute(
                        "REPLACE INTO watch_bead (bead_id, phase, record) VALUES (?, ?, ?)",
                        (bead_id, bead.phase.value, orjson.dumps(bead).decode()),
                    )
            tx.execute(
                "UPDATE watch_cursor SET commit_hash = ?, saved = ?, hashes = ?, dispatch_due = ?, reap_due = ?, "
                "rules = ?, compiled = ?, globals = ? WHERE id = 1",
                (
                    state.commit, saved,
                    orjson.dumps({t: [s.hash, s.since, s.dirty] for t, s in seen.items()}).decode(),
                    due.get("dispatch"), due.get("reap"), orjson.dumps(rules).decode(),
                    orjson.dumps(compiled).decode(), orjson.dumps(_shared(state)).decode(),
                ),
            )  # fmt: skip
            tx.commit()
        self._saved, self._touched = saved, set()


def take_fence(tx: Transaction, held: str | None) -> None:
    """Change the fence; where ``held`` is given, only from that value. Raises Conflict: somebody decided in between."""
    if held is None:
        tx.execute("UPDATE watch_cursor SET fence = ? WHERE id = 1", (_token(),))
    elif not tx.execute("UPDATE watch_cursor SET fence = ? WHERE id = 1 AND fence = ?", (_token(), held)):
        raise Conflict("another worker decided in between")


def _token() -> str:
    return uuid.uuid4().hex


def _shared(state: State) -> dict[str, Any]:
    return {
        "pauses": dict(state.pauses), "resting": dict(state.resting), "stopped": dict(state.stopped),
        "claims": {rule: list(times) for rule, times in state.claims.items()},
        "waiting": sum(bead.matches for bead in state.beads.values()),
    }  # fmt: skip


def state_from(commit: str, beads: Mapping[str, Bead], shared: Mapping[str, Any]) -> State:
    times = {name: utc(until) for name, until in shared.get("resting", {}).items()}
    return State(
        commit, beads,
        {name: _pause(pause) for name, pause in shared.get("pauses", {}).items()},
        {name: until for name, until in times.items() if until is not None},
        shared.get("stopped", {}),
        {rule: tuple(at for at in map(utc, moments) if at) for rule, moments in shared.get("claims", {}).items()},
    )  # fmt: skip


def _pause(value: Mapping[str, Any]) -> Pause:
    at = utc(value["at"])
    assert at is not None
    return Pause(value["rule"], value["reason"], at, value["by"], utc(value.get("until")), bool(value.get("reaping")))


_TIMES = ("since", "matched_at", "sent_at", "deadline", "retry_at")


def bead_from(value: Mapping[str, Any]) -> Bead:
    """A bead's record as ``orjson.dumps`` wrote it."""
    cells = dict(value)
    cells["phase"] = Phase(cells["phase"])
    cells["rank"] = tuple(cells["rank"])
    for name in _TIMES:
        cells[name] = utc(cells[name])
    if cells["sign"] is not None:
        sign = cells["sign"]
        at = utc(sign["at"])
        assert at is not None
        cells["sign"] = Sign(at, sign["what"], sign["who"], sign["commit"])
    return Bead(**cells)
