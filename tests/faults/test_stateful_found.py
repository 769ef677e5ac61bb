"""Findings of the stateful test, each as its shortest story."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dolt_watch.core.model import Rule
from tests.faults.stateful_history import History
from tests.faults.stateful_promises import check, check_resynced
from tests.faults.stateful_world import BOTH, Mishap, World, template
from tests.support.lines import build_reader


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    template(tmp_path)
    made = World(tmp_path / "template.db", tmp_path / "world.db", Rule("agent"))
    yield made
    made.close()


def test_a_resync_is_recorded_though_somebody_writes_in_the_same_instant(world: World) -> None:
    world.create("b0", "bo", 1)
    world.workers[0].tick(BOTH)
    world.create("b1", "bo", 1)
    world.workers[0].tick(BOTH)
    History(world).reset(1)
    world.workers[0].tick(BOTH, Mishap(0, lambda: world.change("b0", title="new")))
    check_resynced(world)
    check(world)


@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("rewrite", [lambda history: history.reset(1), History.flatten])
def test_a_rewrite_during_a_rebuild_is_recorded(
    world: World, after: int, rewrite: Callable[[History], None]
) -> None:
    """Also if it drops the entry that the rebuild has just written."""
    history = History(world)
    for bead in ("b0", "b1", "b2"):
        world.create(bead, "bo", 1)
        world.workers[0].tick(BOTH)
    history.reset(1)
    world.workers[0].tick(BOTH, Mishap(after, lambda: rewrite(history)))
    world.workers[1].tick(BOTH)
    world.workers[0].tick(BOTH)
    check_resynced(world)
    check(world)


def test_two_notes_overwritten_at_once_both_come_back(world: World) -> None:
    world.create("b0", "agent", 1)
    world.clock.sleep(5)
    world.workers[0].tick(BOTH)
    world.overwrite("b0", 2)
    world.clock.sleep(5)
    world.workers[0].tick(BOTH)
    check(world)
    ((notes,),) = world.rows("SELECT notes FROM issues")
    assert [line.split(" ")[0] for line in notes.split("\n")] == [
        "over",
        "auto-dispatcher",
        "dispatched:",
    ]


def test_who_only_looks_after_a_rewrite_sees_the_state_as_it_is(world: World) -> None:
    """`dolt_watch status` runs before any worker ticks again."""
    world.create("b0", "agent", 1, commit=True)
    world.workers[0].tick(BOTH)
    History(world).reset(1)
    loop = build_reader(
        world.hand, world.settings, lambda name: world.target, world.clock, world.said.append
    )
    assert loop.survey(BOTH).state.commit == world.head()
