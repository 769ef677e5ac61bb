"""Reprocessing: the cursor moves back, missed work is handled, and no decision is repeated."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from dolt_watch.controller.reprocess import reprocess
from dolt_watch.core.decisions.policy import Scope
from dolt_watch.engines import Engine
from dolt_watch.replay.verification import verify
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import build, build_dry_run, heard


def back(here: Light, to: str, dry: bool = False) -> Any:
    commit = here.engine.commit_of(to)
    assert commit is not None
    clock = ShiftedClock(timedelta(minutes=5))
    make = build_dry_run if dry else build
    loop = make(here.engine, here.settings, lambda name: here.target, clock, here.lines.append)
    with heard(here.lines.append):
        reprocess(loop.parts, commit, "ann")
    return loop.tick(Scope(dispatch=True, reap=True))


def test_nothing_is_done_twice(doltlite: Engine) -> None:
    here = Light(doltlite, max_in_flight=3)
    begin = here.assign("bd-a", "bd-b")
    here.tick()
    here.tick()
    assert here.target.sent == ["bd-a", "bd-b"] or sorted(here.target.sent) == ["bd-a"]
    sent, kinds = list(here.target.sent), {bead: here.kinds(bead) for bead in ("bd-a", "bd-b")}
    here.target.free = here.target.free._replace(slots=0, why="busy")
    back(here, begin)
    assert (here.target.sent, {bead: here.kinds(bead) for bead in kinds}) == (sent, kinds)
    assert here.kinds("") == ["reprocess"]
    assert verify(here.past()).differences == []


def test_what_was_missed_is_handled(doltlite: Engine) -> None:
    """Reprocessing finds a bead that a defect removed from the saved state."""
    here = Light(doltlite)
    begin = here.head()
    here.assign("bd-a")
    here.target.free = here.target.free._replace(slots=0, why="busy")
    here.tick()
    with doltlite.transaction() as tx:
        tx.execute("DELETE FROM watch_bead")
        tx.commit()
    here.target.free = here.target.free._replace(slots=1, why="")
    assert here.tick(timedelta(minutes=4)).dispatched == 0
    head = here.head()
    back(here, begin, dry=True)
    assert (here.head(), here.target.sent) == (head, [])
    assert any(line.startswith("would dispatch bd-a") for line in here.lines)
    assert back(here, begin).dispatched == 1
    assert (here.target.sent, here.kinds("bd-a"), here.kinds("")) == (
        ["bd-a"],
        ["claim", "dispatched"],
        ["reprocess"],
    )
    assert verify(here.past()).differences == []


def test_what_was_decided_before_is_verified_on_what_it_stood_on(doltlite: Engine) -> None:
    """After a rebuild in the middle, the sign of life is the bead's row.

    The recorded reap named the comment and its commit.
    """
    here = Light(doltlite)
    here.assign("bd-a")
    here.tick()
    here.sql(
        "INSERT INTO comments (id, issue_id, author, text) VALUES ('c', 'bd-a', 'agent', 'at it')"
    )
    to = here.sql("UPDATE issues SET title = 'edited' WHERE id = 'bd-a'")
    assert here.tick(timedelta(hours=2)).reaped == 1
    same = verify(here.past()).same
    back(here, to)
    here.assign("bd-b")
    here.tick(timedelta(hours=2, minutes=1))
    out = verify(here.past())
    assert (here.target.sent, out.differences, out.same) == (["bd-a", "bd-b"], [], same + 2)
