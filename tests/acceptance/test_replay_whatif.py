"""``replay`` of a dozen beads under their recorded settings and under two others.

The expected results are computed by hand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.model import Capacity
from dolt_watch.core.model.target_answers import Busy, Refused, Unknown
from dolt_watch.engines.address import FileAddress
from dolt_watch.replay.simulation.what_if import WhatIfResult
from tests.support.history import History, clock

# The recorded settings: one slot, reaped after 30 minutes, a tick each even minute, settle 2s.
#
# bead  created   prio  run                                     claimed   ended
# b03   10:01:00  1     9m30s                                   10:02:00  10:11:30 closed
# b01   10:00:30  2     9m30s                                   10:12:00  10:21:30 closed
# b02   10:00:40  2     comment after 10m, closed after 19m30s  10:22:00  10:41:30 closed
# b04   10:10:00  2     silent                                  10:42:00  11:14:00 reaped
# b05   10:20:00  2     5m30s                                   11:14:00  11:19:30 closed
# b06   11:30:30  2     refused once, then 9m30s                11:38:00  11:47:30 closed
# b07   11:31:00  2     busy for 5m once, then 9m30s            11:48:00  11:57:30 closed
# b08   12:30:30  2     comment after 20m, closed after 39m30s  12:32:00  13:11:30 closed
# b09   12:31:00  2     -                                       never     -
# b10   12:40:00  4     9m30s                                   13:12:00  13:21:30 closed
# b11   12:41:00  2     9m30s                                   13:22:00  13:31:30 closed
# b12   13:40:30  2     -                                       never     -
#
# b03 is first because of its priority, and the oldest bead is next each time. b04 has been silent
# for 31 whole minutes at 11:13. The tick that reaps b04 dispatches b05. b06 is refused at 11:32,
# and has to wait 2m to 2m30s. b07 is busy at 11:32, so the target has a cooldown until 11:37. b09
# is unassigned at 12:50:00, while b08 runs. b10 has priority 0 since 12:45:00. A user starts b12 at
# 13:41:10 and closes it at 14:00:30.
RECORDED = {
    "b03": "10:02",
    "b01": "10:12",
    "b02": "10:22",
    "b04": "10:42",
    "b05": "11:14",
    "b06": "11:38",
    "b07": "11:48",
    "b08": "12:32",
    "b10": "13:12",
    "b11": "13:22",
}


def closes(bead: str) -> Any:
    return lambda history: history.set(bead, status="closed")


DEEDS: dict[str, Any] = {
    "10:00:30": lambda h: h.new("b01"),
    "10:00:40": lambda h: h.new("b02"),
    "10:01:00": lambda h: h.new("b03", priority=1),
    "10:10:00": lambda h: h.new("b04"),
    "10:11:30": closes("b03"),
    "10:20:00": lambda h: h.new("b05"),
    "10:21:30": closes("b01"),
    "10:32:00": lambda h: h.comment("b02"),
    "10:41:30": closes("b02"),
    "11:19:30": closes("b05"),
    "11:30:30": lambda h: h.new("b06"),
    "11:31:00": lambda h: h.new("b07"),
    "11:47:30": closes("b06"),
    "11:57:30": closes("b07"),
    "12:30:30": lambda h: h.new("b08"),
    "12:31:00": lambda h: h.new("b09"),
    "12:40:00": lambda h: h.new("b10", priority=4),
    "12:41:00": lambda h: h.new("b11"),
    "12:45:00": lambda h: h.set("b10", priority=0),
    "12:50:00": lambda h: h.set("b09", assignee=""),
    "12:52:00": lambda h: h.comment("b08"),
    "13:11:30": closes("b08"),
    "13:21:30": closes("b10"),
    "13:31:30": closes("b11"),
    "13:40:30": lambda h: h.new("b12"),
    "13:41:10": lambda h: h.set("b12", status="in_progress"),
    "13:50:00": lambda h: h.comment("b12"),
    "14:00:30": closes("b12"),
}


@pytest.fixture
def dozen(doltlite_path: FileAddress) -> Iterator[History]:
    history = History(doltlite_path)
    history.target.says = {"b06": [Refused("HTTP 500: oops", 500)], "b07": [Busy("busy", 409, 300)]}
    history.at("10:00").play("14:02", DEEDS)
    with contextlib.closing(history.engine):
        yield history


def claimed(study: WhatIfResult) -> dict[str, str]:
    """Return the time of each bead's claim in the simulation, for claims that were sent."""
    sent = [one for one in study.simulated.attempts if one.sent is not None]
    return {one.bead: f"{one.claimed:%H:%M:%S}".removesuffix(":00") for one in sent}


def differences(study: WhatIfResult) -> set[tuple[str, str, str]]:
    found = [pair for pair in study.pairs if pair.difference is not None]
    return {
        (one.bead, str(one.difference), str(one.by) if one.by is not None else "") for one in found
    }


def later(**more: float) -> str:
    return str(timedelta(**more))


def test_the_same_settings_and_cadence_make_no_difference(dozen: History) -> None:
    found = dozen.what_if()
    assert differences(found) == set()
    assert claimed(found) == RECORDED
    assert found.assumed == ()
    told = [
        [(one.bead, one.kind, one.at, one.attempt) for one in each.records]
        for each in (found.recorded, found.simulated)
    ]
    assert sorted(told[0]) == sorted(told[1])
    assert found.before == found.after


AWAY = Unknown('HTTP 502: {"error":"fetch failed"}', 502, "service")

DOWN, IDLE = Capacity(0, "connection refused", down=True), Capacity(1, idle=True, proof="both")


@pytest.mark.parametrize("health", [False, True])
def test_an_outage_is_where_it_was(doltlite_path: FileAddress, health: bool) -> None:
    """The simulation contains the recorded outage.

    o1 is sent into the outage. Without a health check, o1 tries the target until it answers. With a
    health check, the target receives nothing.
    """
    history = History(doltlite_path)
    history.target.says = {"o1": [AWAY] if health else [AWAY, AWAY]}

    def free(capacity: Capacity) -> Any:
        return lambda h: setattr(h.target, "free", capacity)

    deeds: dict[str, Any] = {"10:00:30": lambda h: h.new("o1", "o2")}
    deeds |= {"10:02:10": free(DOWN), "10:30:10": free(IDLE)} if health else {}
    # A bead that returns to the queue is behind the others.
    first, second = ("o2", "o1") if health else ("o1", "o2")
    deeds |= {"10:51:00": closes(first), "11:10:00": closes(second)}
    history.at("10:00").play("11:20", deeds)
    with contextlib.closing(history.engine):
        kinds = history.engine.query(
            "SELECT bead_id, kind FROM watch_decision ORDER BY decided_at, version"
        )
        assert [kind for bead, kind in kinds if bead == ""] == ["outage", "recovered"]
        assert sum(tuple(one) == ("o1", "claim") for one in kinds) == (2 if health else 3)
        same = history.what_if()
        assert differences(same) == set()
        assert claimed(same)[second] == "10:52"
        two = history.what_if(max_in_flight="2")
        assert two.assumed == ()
        assert claimed(two)[second] < "10:50", "as soon as the target answers again"


# Two at a time, all other settings as recorded. b03 and b01 are dispatched at 10:02 and end at
# 10:11:30. b02 and b04 are dispatched at 10:12. b02 ends at 10:31:30. b04 falls silent and is
# reaped at 10:44, after 31 minutes of silence at 10:43. b05 is dispatched at 10:32. b06 is refused
# and b07 is busy at 11:32. Both are dispatched at 11:38. b08 and b09 are dispatched at 12:32. b09
# has no recorded run, so it takes 9m30s, the median of the recorded runs (5m30s, six times 9m30s,
# 19m30s, 39m30s). It ends at 12:41:30, so the unassignment at 12:50 changes a closed bead. At
# 12:42, b11 (priority 2) comes before b10 (still 4) and runs until 12:51:30. b10 has priority 0 by
# then and is dispatched at 12:52. A user starts b12 before the tick, as recorded.
TWO = {
    "b03": "10:02",
    "b01": "10:02",
    "b02": "10:12",
    "b04": "10:12",
    "b05": "10:32",
    "b06": "11:38",
    "b07": "11:38",
    "b08": "12:32",
    "b09": "12:32",
    "b11": "12:42",
    "b10": "12:52",
}


def test_two_at_a_time(dozen: History) -> None:
    found = dozen.what_if(max_in_flight="2")
    assert claimed(found) == TWO
    assert found.assumed == ("b09",)
    assert found.run_time == timedelta(minutes=9, seconds=30)
    assert differences(found) == {
        ("b01", "dispatched-earlier", later(minutes=-10)),
        ("b02", "dispatched-earlier", later(minutes=-10)),
        ("b04", "dispatched-earlier", later(minutes=-30)),
        ("b05", "dispatched-earlier", later(minutes=-42)),
        ("b07", "dispatched-earlier", later(minutes=-10)),
        ("b09", "only-here-dispatched", ""),
        ("b10", "dispatched-earlier", later(minutes=-20)),
        ("b11", "dispatched-earlier", later(minutes=-40)),
        ("b04", "reaped-earlier", later(minutes=-30)),
    }
    # Waiting times: b03 1m, b02 11m20s, b01 1m30s, b04 2m, b05 12m, b06 7m30s, b07 7m, b08 1m30s,
    # b09 1m, b11 1m, b10 12m. The median is the sixth of eleven, and the maximum the last.
    assert (found.after.waiting.median, found.after.waiting.high) == (
        timedelta(minutes=2),
        timedelta(minutes=12),
    )
    # Recorded waiting times: 1m, 1m30s, 7m30s, 11m30s, 17m, 21m20s, 32m, 32m, 41m, 54m. The median
    # is between the fifth and the sixth of ten.
    assert found.before.waiting.median == timedelta(minutes=19, seconds=10)
    assert (found.before.dispatched, found.after.dispatched) == (10, 11)
    assert found.before.unsent == found.after.unsent == {"failed": 1, "busy": 1}


# `run` with a tick every 2s, and `stale_after` of 15 minutes. b01 has settled at 10:00:32 and ends
# at 10:10:02. b03 (priority 1) is next, before b02, until 10:19:32. b02 has a sign of life after
# 10m and ends at 10:39:02. b04 is next, and is reaped after 16 whole minutes, at 10:55:02. The same
# tick dispatches b05. b06 is refused at 11:30:32 and b07 is busy at 11:31:02, so the target has a
# cooldown until 11:36:02. Then b06 is next until 11:45:32, because its row was written before
# b07's. b07 follows. b08 is dispatched at 12:30:32. Its comment would come after 20m, so b08 is
# reaped at 12:46:32. b10 has priority 0 since 12:45 and is next, until 12:56:02. b09 is unassigned
# meanwhile, so b11 is next. b12 is dispatched at 13:40:32, before the user starts it, and its run
# was not recorded.
FAST = {
    "b01": "10:00:32",
    "b03": "10:10:02",
    "b02": "10:19:32",
    "b04": "10:39:02",
    "b05": "10:55:02",
    "b06": "11:36:02",
    "b07": "11:45:32",
    "b08": "12:30:32",
    "b10": "12:46:32",
    "b11": "12:56:02",
    "b12": "13:40:32",
}


def test_run_and_a_shorter_patience(dozen: History) -> None:
    found = dozen.what_if(timedelta(seconds=2), stale_after="15m")
    assert claimed(found) == FAST
    assert found.assumed == ("b12",)
    assert differences(found) == {
        ("b03", "dispatched-later", later(minutes=8, seconds=2)),
        ("b01", "dispatched-earlier", later(minutes=-11, seconds=-28)),
        ("b02", "dispatched-earlier", later(minutes=-2, seconds=-28)),
        ("b04", "dispatched-earlier", later(minutes=-2, seconds=-58)),
        ("b05", "dispatched-earlier", later(minutes=-18, seconds=-58)),
        ("b06", "dispatched-earlier", later(minutes=-1, seconds=-58)),
        ("b07", "dispatched-earlier", later(minutes=-2, seconds=-28)),
        ("b08", "dispatched-earlier", later(minutes=-1, seconds=-28)),
        ("b10", "dispatched-earlier", later(minutes=-25, seconds=-28)),
        ("b11", "dispatched-earlier", later(minutes=-25, seconds=-58)),
        ("b12", "only-here-dispatched", ""),
        ("b04", "reaped-earlier", later(minutes=-18, seconds=-58)),
        ("b08", "only-here-reaped", ""),
    }
    assert [(one.bead, one.at) for one in found.simulated.taken] == [
        ("b04", clock("10:55:02")),
        ("b08", clock("12:46:32")),
    ]
    assert found.ticks < 150, "not each of 7,200 ticks, but from event to event"
