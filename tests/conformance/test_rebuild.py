"""The state that is rebuilt from history, on both engines."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dolt_watch.core.model import Capacity
from dolt_watch.engines import Engine
from dolt_watch.replay.verification import verify
from tests.support.beads import SHAPES
from tests.support.embedded_tracker import Light

pytestmark = pytest.mark.covering(engines="module")

ANEW = "assignee = 'agent' AND status = 'open' AND acceptance_criteria <> '' AND priority < 9"
"""A rule that matches the beads of the default rule. Its other text causes a rebuild."""


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bead_that_was_deleted_during_its_attempt_is_held(engine: Engine, shape: str) -> None:
    """A bead that its agent had closed before is not."""
    here = Light(engine, shape=shape, max_in_flight=2)
    here.target.free = Capacity(2)
    here.assign("bd-a", "bd-b")
    here.tick(timedelta(minutes=1))
    here.sql("UPDATE issues SET status = 'closed' WHERE id = 'bd-a'")
    here.sql("DELETE FROM issues")
    here.change(when=ANEW)
    here.tick(timedelta(minutes=2))
    here.assign("bd-a", "bd-b")
    here.tick(timedelta(minutes=3))
    assert here.target.sent == ["bd-a", "bd-b", "bd-a"]
    assert verify(here.past()).differences == []
