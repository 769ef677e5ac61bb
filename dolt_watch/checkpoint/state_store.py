"""The cursor and the saved state: tables that never enter history (``dolt_ignore``), written in
one fenced transaction.

The fence makes workers on one server decide one after another. Each transaction of dolt_watch
changes the fence, and the transaction of a decision commits only if the fence still has the value
that the decision was made on.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson

from dolt_watch.checkpoint.poll import PollResult, TableState
from dolt_watch.clock import Clock, DatabaseClock
from dolt_watch.core.model import (
    EMPTY,
    GLOBAL,
    IN_FLIGHT,
    MAY_BE_RUNNING,
    ActivitySignal,
    Bead,
    Outage,
    Pause,
    Phase,
    State,
)
from dolt_watch.core.model.reason_codes import CODES, derived_for_record, unclear_code
from dolt_watch.engines import Engine, Param, Row, Transaction
from dolt_watch.engines.sql_text import chunks
from dolt_watch.errors import Conflict
from dolt_watch.timestamps import to_utc

ROWS = 100
"""Number of rows of ``watch_bead`` before the beads are saved in one row.

A long queue has a fiftieth of its beads more, because writing that row costs by their number.
"""
ALL_BEADS = GLOBAL
"""The id of the row with all beads. It is the id of no bead. Rows of beads are newer."""
LINE = 1000
"""Number of beads on a line of that row. 100,000 records as JSON objects take 100 MB."""


OTHER_DECIDED = "another worker decided in between"
"""The Conflict of a transaction whose fence another worker has changed."""


class StateStore:
    """Reads and writes ``watch_cursor`` and ``watch_bead``.

    Keeps the state in memory until another process saves.
    """

    def __init__(
        self, engine: Engine, worker: Mapping[str, Any] = EMPTY, clock: Clock | None = None
    ) -> None:
        """Create the store.

        Args:
            worker: ``host`` and ``by`` (the command) of the process that saves. Empty: the row
                keeps its values.
        """
        self.engine, self.worker, self.clock = engine, worker, clock or DatabaseClock()
        self._state: State | None = None
        self._saved = ""
        self._touched: set[str] | None = set()
        self._rows: set[str] = set()
        """Beads with a row of their own, also those that left."""
        self._down: list[str] = []
        """Outages that delay beads, in words: an idle tick logs them."""
        self.outbox: list[Mapping[str, Any]] = []
        """Notifications that are not delivered yet. They are saved with the cursor, so none is
        lost.
        """

    def load(self, poll: PollResult) -> State:
        """Return the current state: the saved one, or the newer one in memory."""
        if self._state is None or self._saved != poll.saved:
            self._state = state_from(poll.commit, self._beads(), poll.shared)
            self._saved, self._touched = poll.saved, set()
            self.outbox = list(poll.shared.get("outbox", ()))
            self._down = list(poll.shared.get("down", ()))
        return self._state

    def _beads(self) -> dict[str, Bead]:
        # Few rows: a row takes the server 2 µs and the driver 6 µs, whatever its length.
        records: dict[str, str] = dict(self.engine.query("SELECT bead_id, record FROM watch_bead"))
        beads: dict[str, Bead] = {}
        for line in filter(None, records.pop(ALL_BEADS, "").split("\n")):
            beads |= {bead.id: bead for bead in map(decode_bead, orjson.loads(line))}
        for id, record in records.items():
            # A bead that left has an empty record.
            if record:
                beads[id] = decode_bead(orjson.loads(record))
            else:
                beads.pop(id, None)
        self._rows = set(records)
        return beads

    def has_lost_claim(self, poll: PollResult, state: State) -> bool:
        """Return whether history lost a claim: neither the state at HEAD nor the ledger has it."""
        claims: Sequence[Row] = (
            [poll.unsaved_claim]
            if poll.unsaved_claim is not None
            else self.engine.query("SELECT bead_id, token FROM watch_attempt")
        )
        missing = [
            (bead_id, token)
            for bead_id, token in claims
            if (bead := state.beads.get(bead_id)) is None or bead.token != token
        ]
        for batch in chunks(missing, 200):
            # An answer after which a job runs proves nothing about its claim: history can have
            # been reset in between.
            known = self.engine.query(
                "SELECT DISTINCT bead_id, token FROM watch_decision WHERE bead_id IN"
                f" ({', '.join('?' * len(batch))}) AND kind NOT IN (?, ?)",
                (*(bead_id for bead_id, _ in batch), *sorted(MAY_BE_RUNNING)),
            )
            if not set(batch) <= set(map(tuple, known)):
                return True
        return False

    def local_attempts(self, poll: PollResult) -> list[Bead]:
        """Return the attempts that this server knows without history: those that are saved as in
        flight, and later claims.
        """
        known = {
            id: bead for id, bead in self._beads().items() if bead.token and bead.phase in IN_FLIGHT
        }
        for bead, attempt, rule, token, at, deadline in self.engine.query(
            "SELECT bead_id, attempt, rule, token, claimed_at, deadline FROM watch_attempt"
        ):
            claimed = to_utc(at)
            assert claimed is not None
            known[bead] = Bead(
                id=bead,
                phase=Phase.CLAIMED,
                rule=rule,
                since=claimed,
                cause=poll.commit,
                attempt=attempt,
                token=token,
                sent_at=claimed,
                deadline=to_utc(deadline),
            )
        return list(known.values())

    def has_unsaved(self, poll: PollResult) -> bool:
        """Return whether the state in memory is newer than the cursor row and not saved yet."""
        return (
            self._state is not None
            and self._saved == poll.saved
            and self._state.commit != poll.commit
        )

    def stage(self, poll: PollResult, state: State, touched: Iterable[str] | None) -> None:
        """Keep a newer state, to be saved at the end of the tick.

        ``touched``: the beads that changed; None: all of them.
        """
        self._state, self._saved = state, poll.saved
        if touched is None:
            self._touched = None
        elif self._touched is not None:
            self._touched.update(touched)

    def discard(self) -> None:
        """Drop the state in memory, so that the saved one is current again."""
        self._state = None

    def add_notices(self, notices: Iterable[Mapping[str, Any]]) -> None:
        """Add to the notices that wait; saved with the cursor."""
        self.outbox = [*self.outbox, *notices]

    def keep_notices(self, rest: Iterable[Mapping[str, Any]]) -> None:
        """Keep only ``rest`` of the notices that wait: the others are delivered."""
        self.outbox = list(rest)

    def save(
        self,
        poll: PollResult,
        seen: Mapping[str, TableState],
        due: Mapping[str, datetime | None],
        rules: Mapping[str, Any],
        compiled: Mapping[str, Any],
        down: Iterable[str] | None = None,
    ) -> None:
        """Save cursor and state in one transaction, and delete its claims from ``watch_attempt``.

        ``down``: the outages that an idle tick reports. None: they are as before.

        Raises:
            Conflict: another worker has changed the fence.
        """
        state, touched = self.load(poll), self._touched
        if down is not None:
            self._down = sorted(down)
        if (
            touched is not None
            and not touched
            and not poll.has_unsaved_claims
            and not self._leads_anew(poll)
            and _is_unchanged(poll, self._shared(state), state.commit, seen, due, rules, compiled)
        ):
            return
        saved = uuid.uuid4().hex
        own = {**self.worker, "at": self.clock.now(poll.now)} if self.worker else None
        worker = own or poll.shared.get("worker")
        shared = self._shared(state) | ({"worker": worker} if worker else {})
        cursor: dict[str, Param] = {
            "commit_hash": state.commit,
            "saved": saved,
            "fence": uuid.uuid4().hex,
            "hashes": _text({t: [s.hash, s.since, s.dirty] for t, s in seen.items()}),
            "dispatch_due": due.get("dispatch"),
            "reap_due": due.get("reap"),
            "globals": _text(shared),
        }
        # These texts are long and rarely new. Writing an unchanged text costs its bytes on disk
        # again.
        cursor |= {"rules": _text(rules)} if rules != poll.rules else {}
        cursor |= {"compiled": _text(compiled)} if compiled != poll.compiled else {}
        sets = ", ".join(f"{name} = ?" for name in cursor)
        update = f"UPDATE watch_cursor SET {sets} WHERE id = 1 AND fence = ?"
        params = (*cursor.values(), poll.fence)
        # A change that leads to no decision changes the cursor row only.
        if touched is not None and not touched:
            if not self.engine.write(update, params):
                raise Conflict(OTHER_DECIDED)
        else:
            with self.engine.transaction() as tx:
                tx.write(update, params, unmatched=OTHER_DECIDED)
                rows = self._save_beads(tx, state.beads, touched)
                if poll.has_unsaved_claims:
                    tx.write("DELETE FROM watch_attempt")
                tx.commit()
            self._rows = rows
        self._saved, self._touched = saved, set()

    def _save_beads(
        self, tx: Transaction, beads: Mapping[str, Bead], touched: Collection[str] | None
    ) -> set[str]:
        """Save the beads that changed. None: all of them. Return the beads with an own row."""
        rows = self._rows.union(touched or ())
        cells: list[tuple[str, str, str]] = []
        if touched is None or len(rows) > ROWS + len(beads) // 50:
            tx.write("DELETE FROM watch_bead")
            touched = rows = set(beads) if len(beads) <= ROWS else set()
            if len(beads) > ROWS:
                lines = (_text(list(map(_packed, some))) for some in chunks(beads.values(), LINE))
                cells.append((ALL_BEADS, "", "\n".join(lines)))
        for id in touched:
            bead = beads.get(id)
            cells.append((id, bead.phase.value, _text(encode_bead(bead))) if bead else (id, "", ""))
        # One statement for many records: each further one would write the same pages again.
        for some in chunks(cells, 200):
            marks = ", ".join(["(?, ?, ?)"] * len(some))
            tx.write(
                f"REPLACE INTO watch_bead (bead_id, phase, record) VALUES {marks}",
                [cell for row in some for cell in row],
            )
        return rows

    def _shared(self, state: State) -> dict[str, Any]:
        """Return the state without its beads, and the texts that wait."""
        seldom = {
            "outbox": self.outbox,
            "down": self._down,
            "outages": {name: outage._asdict() for name, outage in state.outages.items()},
            "busy": dict(state.busy),
        }
        return {name: value for name, value in seldom.items() if value} | {
            "pauses": {rule: pause._asdict() for rule, pause in state.pauses.items()},
            "resting": dict(state.cooldowns),
            "stopped": dict(state.halted_rules),
            "claims": {rule: list(times) for rule, times in state.claims.items()},
            "made": state.made,
            "version": state.version,
            "waiting": sum(bead.matches for bead in state.beads.values()),
        }

    def _leads_anew(self, poll: PollResult) -> bool:
        """Return whether another `run` leads than the one that saved last. It records that once."""
        worker, saved = self.worker, poll.shared.get("worker") or {}
        return worker.get("by") == "run" and any(
            worker.get(key) != saved.get(key) for key in ("host", "by")
        )


def advance_fence(tx: Transaction, held: str | None) -> str:
    """Change the fence, and return its new value.

    Args:
        held: the value that the fence must have; None: any.

    Raises Conflict if another worker has changed the fence.
    """
    sql, token = "UPDATE watch_cursor SET fence = ? WHERE id = 1", uuid.uuid4().hex
    if held is None:
        tx.write(sql, (token,))
    else:
        tx.write(f"{sql} AND fence = ?", (token, held), unmatched=OTHER_DECIDED)
    return token


def _is_unchanged(
    poll: PollResult,
    shared: Mapping[str, Any],
    commit: str,
    seen: Mapping[str, TableState],
    due: Mapping[str, datetime | None],
    rules: Mapping[str, Any],
    compiled: Mapping[str, Any],
) -> bool:
    """Return whether the cursor row has these values: a target that stays busy costs no write."""
    return (
        (commit, dict(seen), rules, compiled)
        == (poll.commit, dict(poll.seen), poll.rules, poll.compiled)
        and all(due.get(kind) == poll.due.get(kind) for kind in ("dispatch", "reap"))
        and orjson.loads(_text(shared)) == {k: v for k, v in poll.shared.items() if k != "worker"}
    )


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def state_from(commit: str, beads: Mapping[str, Bead], shared: Mapping[str, Any]) -> State:
    times = {name: to_utc(until) for name, until in shared.get("resting", {}).items()}
    return State(
        commit=commit,
        made=shared.get("made", ""),
        beads=beads,
        pauses={name: _pause(pause) for name, pause in shared.get("pauses", {}).items()},
        cooldowns={name: until for name, until in times.items() if until is not None},
        halted_rules=shared.get("stopped", {}),
        claims={
            rule: tuple(at for at in map(to_utc, moments) if at)
            for rule, moments in shared.get("claims", {}).items()
        },
        version=shared.get("version", 0),
        outages={name: _outage(outage) for name, outage in shared.get("outages", {}).items()},
        busy=shared.get("busy", {}),
    )


def _outage(value: Mapping[str, Any]) -> Outage:
    since, next_at = to_utc(value["since"]), to_utc(value["next_at"])
    assert since is not None and next_at is not None
    return Outage(**{**value, "since": since, "next_at": next_at, "noted": tuple(value["noted"])})


def _pause(value: Mapping[str, Any]) -> Pause:
    at = to_utc(value["at"])
    assert at is not None
    return Pause(
        value["rule"],
        value["reason"],
        at,
        value["by"],
        to_utc(value.get("until")),
        bool(value.get("reaping")),
    )


_TIMES = ("since", "matched_at", "sent_at", "deadline", "retry_at")
_WAITS = ("id", "phase", "rule", "since", "cause", "matches", "rank", "matched_at")
"""The fields of the record of a bead that waits, and has not been sent before, in their order."""
_WAITING = Phase.WAITING
_PHASES = {phase.value: phase for phase in Phase}


def encode_bead(bead: Bead) -> dict[str, Any]:
    """Return the fields of a bead that differ from their defaults."""
    defaults = Bead._field_defaults
    values = {
        name: value
        for name, value in bead._asdict().items()
        if name not in defaults or value != defaults[name]
    }
    return values | {"sign": bead.sign._asdict()} if bead.sign is not None else values


def _packed(bead: Bead) -> Any:
    """Return the record of a bead, which is a list if the bead only waits."""
    cells = encode_bead(bead)
    if tuple(cells) != _WAITS:
        return cells
    return [bead.id, bead.rule, bead.since, bead.cause, bead.rank, bead.matched_at]


def decode_bead(cells: Any) -> Bead:
    """Return the bead of a record, which was read as JSON. Changes ``cells``.

    A command reads thousands of records, most of beads that only wait.
    """
    if type(cells) is list:
        id, rule, since, cause, rank, matched_at = cells
        return Bead(
            id=id,
            phase=_WAITING,
            rule=rule,
            since=_time(since),
            cause=cause,
            matches=True,
            rank=tuple(rank),
            matched_at=_time(matched_at),
        )
    phase = cells["phase"] = _PHASES[cells["phase"]]
    code = cells.get("reason_code")
    if code is not None:
        cells["reason_code"] = CODES.get(code)
    elif "reason" in cells:
        cells["reason_code"] = derived_for_record(phase, str(cells["reason"]))
    if "unclear" in cells:
        cells["unclear"] = unclear_code(cells["unclear"])
    if "rank" in cells:
        cells["rank"] = tuple(cells["rank"])
    for name in _TIMES:
        if name in cells:
            cells[name] = _time(cells[name])
    sign = cells.get("sign")
    if sign is not None:
        at = to_utc(sign["at"])
        assert at is not None
        cells["sign"] = ActivitySignal(
            at, sign["what"], sign["who"], sign["commit"], sign.get("off", 0)
        )
    return Bead(**cells)


@lru_cache(maxsize=1024)
def _time(text: Any) -> Any:
    """Return the time. All beads that one commit changed have the same."""
    return to_utc(text)
