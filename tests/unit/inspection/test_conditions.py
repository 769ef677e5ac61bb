"""The changes that `why` names for conditions that are not met."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from dolt_watch.core.model.target_answers import Refused
from dolt_watch.engines import Engine
from dolt_watch.inspection.why.decision_snapshot import snapshot_now
from dolt_watch.inspection.why.explanation import explain
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light
from tests.support.lines import build_reader

pytestmark = pytest.mark.long

WHEN = "assignee = 'agent' AND status = 'open' AND title <> 'VALID'"


def test_the_id_replaces_its_placeholder_and_no_text_of_a_rule(doltlite: Engine) -> None:
    here = Light(doltlite, when=WHEN)
    here.target.answers.append(Refused("HTTP 400: no", 400, permanent=True))
    here.assign("bd-a")
    here.tick()
    clock = ShiftedClock(timedelta(minutes=2))
    reader = build_reader(
        here.engine, here.settings, lambda name: here.target, clock, here.lines.append
    )
    found = explain(here.engine, "bd-a", here.head(), partial(snapshot_now, reader, "bd-a"))
    remedies = [one.remedy for one in found.views[0].conditions]
    assert "change the bead so that title <> 'VALID'" in remedies
    assert "run `dolt_watch retry bd-a`, or edit the bead" in remedies
