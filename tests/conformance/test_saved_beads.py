"""The saved beads arrive complete: a state without an attempt would send its bead again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.checkpoint import state_store
from dolt_watch.checkpoint.poll import Poller
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.core.model import ActivitySignal, Bead, Phase, State
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.engines import Engine
from dolt_watch.errors import Conflict
from tests.support.embedded_tracker import Light

AT = datetime(2026, 4, 18, 22, 35, 46, 123456, UTC)


def saved(engine: Engine) -> dict[str, Bead]:
    return dict(StateStore(engine).load(Poller(engine).poll()).beads)


def rows(engine: Engine) -> list[str]:
    return [row[0] for row in engine.query("SELECT bead_id FROM watch_bead ORDER BY bead_id")]


def save(store: StateStore, beads: Mapping[str, Bead], touched: set[str] | None) -> None:
    poll = Poller(store.engine).poll()
    state = store.load(poll)
    store.stage(poll, State(commit=poll.head, made=state.made, beads=beads), touched)
    store.save(poll, {}, {}, {}, {})


def test_all_saved_beads_arrive(engine: Engine) -> None:
    here = Light(engine)
    assert saved(engine) == {}, "no row"
    beads = [f"bd-{n:04}" for n in range(600)]
    here.assign(*beads)
    here.tick()
    assert rows(engine) == ["", beads[0]], "it was claimed after the first save"
    first = saved(engine)
    assert sorted(first) == beads
    assert [bead.job for bead in first.values() if bead.token] == ["job1"]
    here.sql("UPDATE issues SET status = 'closed' WHERE id <> 'bd-0001'")
    here.tick(timedelta(minutes=2))
    assert (list(saved(engine)), rows(engine)) == (["bd-0001"], ["bd-0001"])
    here.sql("UPDATE issues SET status = 'closed'")
    here.tick(timedelta(minutes=3))
    assert (saved(engine), rows(engine)) == ({}, ["bd-0001"]), "an empty record"


def a_bead(dice: random.Random, id: str) -> Bead:
    """Return a bead that waits, or one with other fields."""
    at = AT + timedelta(microseconds=dice.randrange(10**9))
    bead = Bead(id, Phase.WAITING, "agent", at, "c" * 32, True, False, (2, "a", None), at)
    if dice.random() < 0.6:
        return bead
    odd = "a\u2028b\x85c\r\n\x0b'\"\\%s ä🚀"
    return bead._replace(
        phase=dice.choice(list(Phase)),
        matches=dice.random() < 0.5,
        rank=dice.choice([(), (1,), (None, "x")]),
        matched_at=dice.choice([None, at]),
        version=dice.randrange(9),
        token=dice.choice(["", "t"]),
        reason=dice.choice(["", odd]),
        reason_code=dice.choice([None, ReasonCode.REFUSED]),
        sign=dice.choice([None, ActivitySignal(at, "comment", odd, "c", -3)]),
        lost_note=dice.choice(["", f"{odd}\nagain"]),
    )


@pytest.mark.parametrize("seed", range(3))
def test_any_change_of_any_bead(engine: Engine, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers save by turns. Each new process reads what they saved, in few rows."""
    monkeypatch.setattr(state_store, "ROWS", 5)
    monkeypatch.setattr(state_store, "LINE", 4)
    Light(engine)
    dice, beads = random.Random(seed), dict[str, Bead]()
    stores = [StateStore(engine), StateStore(engine)]
    names = [f"bd-{n}" for n in range(40)]
    forms = set()
    for _ in range(60):
        touched = set(dice.sample(names, dice.choice([1, 1, 2, 7, 30])))
        for id in touched:
            if dice.random() < 0.4:
                beads.pop(id, None)
            else:
                beads[id] = a_bead(dice, id)
        save(dice.choice(stores), dict(beads), None if dice.random() < 0.1 else touched)
        assert saved(engine) == beads
        assert len(rows(engine)) <= 5 + 1
        forms.add("" in rows(engine))
    assert forms == {True, False}


def test_a_save_that_another_worker_prevents_changes_nothing(engine: Engine) -> None:
    Light(engine)
    dice = random.Random(1)
    beads = {f"bd-{n}": a_bead(dice, f"bd-{n}") for n in range(300)}
    one, other = StateStore(engine), StateStore(engine)
    save(one, beads, None)
    poll = Poller(engine).poll()
    one.load(poll)
    other.load(poll)
    newer = {**beads, "bd-1": a_bead(dice, "bd-1")}
    one.stage(poll, State(commit=poll.head, beads={}), None)
    save(other, newer, {"bd-1"})
    with pytest.raises(Conflict):
        one.save(poll, {}, {}, {}, {})
    assert (saved(engine), rows(engine)) == (newer, ["", "bd-1"])
    save(one, beads, {"bd-1"})
    assert saved(engine) == beads


def test_a_state_with_a_row_for_each_bead(engine: Engine) -> None:
    """As an earlier version saved it."""
    here = Light(engine)
    here.assign(*(f"bd-{n:03}" for n in range(150)))
    here.tick()
    before = saved(engine)
    with engine.transaction() as tx:
        tx.execute("DELETE FROM watch_bead")
        for id, bead in before.items():
            record = state_store._text(state_store.encode_bead(bead))
            tx.execute("INSERT INTO watch_bead VALUES (?, ?, ?)", (id, bead.phase.value, record))
        tx.execute("INSERT INTO watch_bead VALUES ('bd-gone', '', '')")
        tx.commit()
    assert saved(engine) == before
    here.sql("UPDATE issues SET status = 'closed' WHERE id = 'bd-001'")
    here.tick(timedelta(minutes=2))
    assert (sorted(saved(engine)), rows(engine)) == (sorted(before.keys() - {"bd-001"}), [""])
