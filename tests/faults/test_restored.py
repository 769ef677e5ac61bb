"""History is reset to before a dispatch, as by a restored backup.

This server has a record of the dispatch, so it isn't sent again.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from dolt_watch.checkpoint.poll import Poller
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.core.model import Bead, Phase
from dolt_watch.engines.address import FileAddress, ServerAddress
from tests.faults.scenarios import SCENARIOS, due
from tests.faults.tally import Tally
from tests.faults.world import World
from tests.support.servers import call, message

pytestmark = pytest.mark.covering(engines="module")


def state(world: World, bead: str) -> Bead | None:
    with world.open() as engine:
        return StateStore(engine).load(Poller(engine).poll()).beads.get(bead)


@pytest.mark.parametrize("failed_before", [False, True], ids=["first attempt", "second attempt"])
def test_what_runs_is_not_sent_again(
    address: ServerAddress | FileAddress, tmp_path: Path, failed_before: bool
) -> None:
    """History is reset to before the claim, when the bead was new or had failed once."""
    bead = "bd-1"
    with World(address, SCENARIOS[0], tmp_path, Tally("", "")) as world:
        due(world, bead)
        with world.open() as engine:
            before = world.head(engine)
        if failed_before:
            world.board.answers[bead] = deque([400])
        world.recover()
        [job] = world.board.jobs(bead)
        with world.open() as engine:
            ours = engine.commits(before, world.head(engine))
            failures = [
                each.hash for each in ours if "\nDecision: failed\n" in message(engine, each.hash)
            ]
            call(engine, "dolt_reset", "--hard", *(failures or [before]))
        world.recover()
        runs = state(world, bead)
        assert world.board.jobs(bead) == [job], "a second agent runs"
        assert runs is not None
        assert (runs.phase, runs.job) == (Phase.RUNNING, job)
        world.commit(f"bd: update {bead}", f"UPDATE issues SET title = 'again' WHERE id = '{bead}'")
        world.recover()
        assert world.board.jobs(bead) == [job]
