"""Events that move with a dispatch, and events that keep their time.

The real loop records a short history with a tick at each even minute. Each test compares the
history with a simulation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.core.model.target_answers import Busy, Refused
from dolt_watch.engines.address import FileAddress
from dolt_watch.errors import RuleError, SettingsError
from dolt_watch.ledger.codec import ENTRY_COLUMNS
from dolt_watch.replay.simulation.schedule import cadence_of
from dolt_watch.replay.simulation.what_if import WhatIfResult
from tests.support.history import Deeds, History, clock

pytestmark = pytest.mark.long

MINUTE = timedelta(minutes=1)


@pytest.fixture
def history(doltlite_path: FileAddress, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    # Small blocks let a short history use packed blocks, as a long one does.
    monkeypatch.setattr("dolt_watch.replay.simulation.compressed_list.BLOCK", 2)
    made = History(doltlite_path)
    with contextlib.closing(made.engine):
        yield made.at("10:00")


def new(bead: str, **cells: object) -> object:
    return lambda h: h.new(bead, **cells)


def put(bead: str, **cells: object) -> object:
    return lambda h: h.set(bead, **cells)


def claimed(study: WhatIfResult) -> list[tuple[str, str]]:
    return [
        (one.bead, f"{one.claimed:%H:%M}")
        for one in study.simulated.attempts
        if one.sent is not None
    ]


def ended(study: WhatIfResult, bead: str) -> tuple[str, str]:
    last = [one for one in study.simulated.attempts if one.bead == bead][-1]
    return (f"{last.ended:%H:%M:%S}" if last.ended else "", last.outcome)


def found(study: WhatIfResult) -> list[tuple[str, str, str]]:
    found = [pair for pair in study.pairs if pair.difference is not None]
    return [(one.bead, str(one.difference), one.why) for one in found]


def test_a_run_moves_with_its_dispatch_and_people_stay(history: History) -> None:
    deeds: Deeds = {
        "10:01": new("a"),
        "10:03": new("b"),
        # A change during the wait keeps its time.
        "10:09:00": put("b", priority=0),
        "10:11:30": put("a", status="closed"),
        # A user's change during the run keeps its time.
        "10:15:00": put("b", title="better"),
        # The agent's comment moves.
        "10:20:00": lambda h: h.comment("b"),
        "10:25:30": put("b", status="blocked"),
    }
    history.play("10:40", deeds)
    study = history.what_if(max_in_flight="2")
    # b is dispatched 8 minutes earlier.
    assert claimed(study) == [("a", "10:02"), ("b", "10:04")]
    assert ended(study, "b") == ("10:17:30", "blocked")
    assert study.assumed == ()


def test_a_reaped_bead_is_spared_and_its_agent_ends_as_it_did(history: History) -> None:
    deeds: Deeds = {"10:01": new("a"), "10:40:30": put("a", status="closed")}
    history.play("10:50", deeds)
    study = history.what_if(stale_after="45m")
    assert found(study) == [("a", "spared", "it ended: closed")]
    assert ended(study, "a") == ("10:40:30", "closed")
    assert (study.before.reaped, study.after.reaped) == (1, 0)


def test_reaped_where_it_was_not(history: History) -> None:
    deeds: Deeds = {"10:01": new("a"), "10:18:30": put("a", status="closed")}
    history.play("10:40", deeds)
    study = history.what_if(stale_after="10m")
    assert found(study) == [("a", "only-here-reaped", "no progress for 12m (threshold 10m)")]
    assert ended(study, "a") == ("10:14:00", "reap")


def test_a_requeued_bead_is_dispatched_again_and_its_second_run_is_assumed(
    history: History,
) -> None:
    deeds: Deeds = {"10:01": new("a"), "10:18:30": put("a", status="closed")}
    history.play("10:40", deeds)
    study = history.what_if(stale_after="10m", on_stale="requeue", run_time=5 * MINUTE)
    assert claimed(study) == [("a", "10:02"), ("a", "10:16")]
    assert ended(study, "a") == ("10:21:00", "closed")
    assert study.assumed == ("a",)


def test_never_and_why(history: History) -> None:
    deeds: Deeds = {
        "10:01": new("a", priority=3),
        "10:03": new("b", priority=1),
        "10:11:30": put("a", status="closed"),
        "10:13": new("c", priority=0),
    }
    history.play("10:16", deeds)
    study = history.what_if(when="assignee = 'agent' AND status = 'open' AND priority <> 3")
    assert claimed(study) == [("b", "10:04")]
    assert found(study) == [
        ("a", "never-dispatched", "it does not match"),
        ("b", "dispatched-earlier", ""),
    ]
    assert study.waiting == {"c": "1 of 1 in flight: b (running)"}


def test_another_when_on_a_bead_that_is_in_progress_only_by_our_claim(history: History) -> None:
    """Without the claim at 10:02, the bead matches the other rule from the edit at 10:07."""
    deeds: Deeds = {
        "10:01": new("a", priority=2),
        "10:07": put("a", priority=0),
        "10:20:30": put("a", status="closed"),
    }
    history.play("10:40", deeds)
    study = history.what_if(
        when="assignee = 'agent' AND status IN ('open', 'ready') AND priority = 0"
    )
    assert claimed(study) == [("a", "10:08")]
    assert ended(study, "a") == ("10:26:30", "closed")
    assert study.assumed == ()


def test_a_when_that_asks_for_a_status_of_ones_own(history: History) -> None:
    deeds: Deeds = {
        "10:01": new("a"),
        "10:05": new("b", status="ready"),
        "10:08:30": put("a", status="closed"),
    }
    history.play("10:20", deeds)
    study = history.what_if(when="assignee = 'agent' AND status = 'ready'", run_time=3 * MINUTE)
    assert claimed(study) == [("b", "10:06")]
    assert ended(study, "b") == ("10:09:00", "closed")


def test_order_by(history: History) -> None:
    deeds: Deeds = {
        "10:01:00": new("a"),
        "10:01:10": new("b"),
        "10:01:20": new("c"),
        "10:05:30": put("a", status="closed"),
        "10:09:30": put("b", status="closed"),
        "10:13:30": put("c", status="closed"),
    }
    history.play("10:20", deeds)
    study = history.what_if(order_by="updated_at DESC")
    assert claimed(study) == [("c", "10:02"), ("b", "10:06"), ("a", "10:10")]


def test_the_queue_goes_by_when_a_row_was_written_here(history: History) -> None:
    """A busy answer rewrites the row of b at the simulated time, which determines its place."""
    history.target.says = {"b": [Busy("busy", 409, 60)]}
    deeds: Deeds = {
        "10:01:00": new("b"),
        "10:01:10": new("c", assignee=""),
        "10:02:30": put("c", assignee="agent"),
        "10:09:30": put("b", status="closed"),
        "10:15:30": put("c", status="closed"),
    }
    history.play("10:20", deeds)
    assert [pair.bead for pair in history.what_if().pairs] == ["b", "c"]
    # b is busy and rewritten at 10:05, after c at 10:02:30. So c is dispatched first.
    assert claimed(history.what_if(5 * MINUTE)) == [("c", "10:10"), ("b", "10:20")]


def test_the_median_of_what_was_recorded_or_the_given_time(history: History) -> None:
    deeds: Deeds = {
        "10:01": new("a"),
        # The run takes 3 minutes.
        "10:05:00": put("a", status="closed"),
        "10:07": new("b"),
        # The run takes 9 minutes.
        "10:17:00": put("b", status="closed"),
        "10:21": new("c", priority=0, assignee="somebody"),
    }
    history.play("10:50", deeds)
    when = "acceptance_criteria <> '' AND status = 'open' AND assignee <> ''"
    study = history.what_if(when=when)
    assert (study.assumed, study.run_time, ended(study, "c")) == (
        ("c",),
        6 * MINUTE,
        ("10:28:00", "closed"),
    )
    study = history.what_if(
        when=when, run_time=timedelta(hours=1), begins=study.question.begins.hash
    )
    assert (study.run_time, ended(study, "c")) == (
        timedelta(hours=1),
        ("", ""),
    ), "alive all along: not reaped"


def test_nothing_says_how_long_a_run_takes(history: History) -> None:
    history.play(
        "10:10",
        {"10:01": new("a", assignee="x"), "10:03": new("b"), "10:05": put("b", assignee="")},
    )
    with pytest.raises(SettingsError, match="a is dispatched in the simulation only") as told:
        history.what_if(when="status = 'open' AND assignee <> ''")
    assert "--run-time" in str(told.value.fix)


def test_a_refusal_comes_with_its_dispatch_and_the_settings_say_what_then(history: History) -> None:
    history.target.says = {"a": [Refused("HTTP 500: x", 500)]}
    deeds: Deeds = {"10:01": new("a"), "10:20": put("a", status="closed")}
    history.play("10:30", deeds)
    assert claimed(history.what_if()) == [("a", "10:06")]
    assert claimed(history.what_if(retry_after="8m")) == [("a", "10:12")]
    study = history.what_if(max_attempts="1")
    assert (claimed(study), study.after.unsent) == ([], {"quarantined": 1})
    assert study.waiting == {"a": "HTTP 500: x"}


def test_not_before_it_is_ready(history: History) -> None:
    """The gates of bd apply as in history: b waits for a, c until 10:30, and d forever.

    The ticks in between aren't simulated.
    """
    deeds: Deeds = {
        "10:01:00": new("a", priority=4, assignee=""),
        "10:01:10": new("c", defer_until=clock("10:30")),
        "10:01:12": new("d", defer_until=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        "10:01:20": new("b"),
        "10:01:21": lambda h: h.write(
            (
                (
                    "INSERT INTO dependencies (issue_id, depends_on_id, type, created_by) VALUES"
                    " ('b', 'a', 'blocks', 'x')"
                ),
                (),
            )
        ),
        "10:21:00": put("a", status="closed"),
        "10:25:30": put("b", status="closed"),
        "10:35:00": put("c", status="closed"),
    }
    history.play("10:40", deeds)
    study = history.what_if()
    assert (claimed(study), found(study)) == ([("b", "10:22"), ("c", "10:30")], [])
    fast = history.what_if(timedelta(seconds=2))
    assert [f"{one.claimed:%H:%M:%S}" for one in fast.simulated.attempts] == [
        "10:21:00",
        "10:30:00",
    ]
    assert fast.ticks < 30
    assert claimed(history.what_if(ready="false"))[0] == ("c", "10:02")


def test_a_pause_is_a_persons_and_stays(history: History) -> None:
    deeds: Deeds = {
        "10:01": lambda h: h.pause("upgrade"),
        "10:03": new("a"),
        "10:13": lambda h: h.resume(),
        "10:20": put("a", status="closed"),
    }
    history.play("10:30", deeds)
    assert claimed(history.what_if(timedelta(seconds=30))) == [("a", "10:13")]


def test_a_pause_that_was_imported_says_not_what_it_wrote(history: History) -> None:
    columns = ", ".join(ENTRY_COLUMNS)
    pause = (
        "('', 99, 'pause', 0, '', '', '', '', '2026-04-18 10:01:00.000000', '', 'upgrade', '', '',"
        " 'somebody', '{}')"
    )
    deeds: Deeds = {
        "10:01": lambda h: h.write((f"INSERT INTO watch_decision ({columns}) VALUES {pause}", ())),
        "10:03": new("a"),
        "10:13": lambda h: h.resume(),
        "10:20": put("a", status="closed"),
    }
    history.play("10:30", deeds)
    assert claimed(history.what_if(timedelta(seconds=30))) == [("a", "10:13")]


def test_a_run_under_way_when_it_begins_goes_on_as_it_did(history: History) -> None:
    deeds: Deeds = {
        "10:01": new("a"),
        "10:10": lambda h: h.comment("a"),
        "10:20": put("a", status="closed"),
        "10:21": new("b"),
        "10:30": put("b", status="closed"),
    }
    history.play("10:40", deeds)
    middle = next(
        c.hash for c in history.engine.commits(None, history.head()) if c.date == clock("10:10")
    )
    study = history.what_if(begins=middle)
    assert (claimed(study), found(study)) == ([("a", "10:02"), ("b", "10:22")], [])
    assert study.simulated.attempts[0].earlier
    assert (study.before.dispatched, study.after.dispatched) == (1, 1)


def test_it_begins_on_the_line_where_a_merge_brought_its_commit_in(history: History) -> None:
    """The named commit is older than every commit of the line after the first rebuild."""
    call = history.engine.execute_sqlite  # type: ignore[attr-defined]
    history.new("a")
    first = history.head()
    history.at("10:01").new("c", assignee="")
    side = history.head()
    call("SELECT dolt_branch('side')")
    call("SELECT dolt_reset('--hard', ?)", (first,))
    history.at("10:02").tick()
    call("SELECT dolt_merge('side', '--no-commit', '--no-ff')")
    history.at("10:03")
    call("SELECT dolt_commit('-Am', 'merge')")
    history.play("10:20", {"10:10": put("a", status="closed")})
    assert history.past().rebuild_points.keys() == {first}
    study = history.what_if(begins=side)
    assert (study.question.begins.hash, claimed(study)) == (first, [("a", "10:00")])


def test_a_begin_that_is_dated_in_the_future(history: History) -> None:
    """Dates of a clock that is ahead don't leave out the commits after it."""
    history.at("10:09").new("a")
    history.at("10:00").play("10:20", {"10:10": put("a", status="closed")})
    study = history.what_if()
    assert [one.kind.value for one in study.recorded.records] == ["claim", "dispatched"]


def test_a_person_answers_a_reap_that_is_not_made(history: History) -> None:
    """History contains a reap at 10:34, a reopening at 10:49:30, and a second run.

    The simulation doesn't reap the bead, but keeps the user's change and the second run.
    """
    deeds: Deeds = {
        "10:01": new("a"),
        "10:49:30": put("a", status="open"),
        "10:57:30": put("a", status="closed"),
    }
    history.play("11:10", deeds)
    study = history.what_if(stale_after="2h")
    assert claimed(study) == [("a", "10:02"), ("a", "10:50")]
    assert [one[:2] for one in found(study)] == [("a", "spared")]
    assert study.assumed == ()


def test_an_expression_that_is_none(history: History) -> None:
    history.play("10:04", {"10:01": new("a")})
    with pytest.raises(RuleError) as told:
        history.what_if(when="priorty = 2")
    assert "priorty" in told.value.message and "^" in str(told.value.where)


@pytest.mark.parametrize("every", ["2m", "10m", "2s"])
def test_with_nothing_changed_there_is_no_difference(
    doltlite_path: FileAddress, every: str
) -> None:
    """Both results are the same simulation, for every recorded interval."""
    made = History(doltlite_path)
    step = timedelta(minutes=int(every[:-1])) if every[-1] == "m" else timedelta(seconds=20)
    with contextlib.closing(made.engine):
        deeds: Deeds = {
            "10:01": new("a"),
            "10:03": new("b"),
            "10:05:10": put("a", status="closed"),
            "10:20": new("c"),
            "10:25": put("b", status="closed"),
        }
        made.at("10:00").play("10:40", deeds, step)
        study = made.what_if(cadence_of(made.past().entries).every)
        assert found(study) == []
        assert study.unchanged is study.simulated
        changed = made.what_if(cadence_of(made.past().entries).every, max_in_flight="2")
        assert {what for _, what, _ in found(changed)} == {"dispatched-earlier"}
        assert changed.base == study.after, "compared with the same settings, simulated"


def test_another_cadence_is_a_change(history: History) -> None:
    history.play("10:20", {"10:01": new("a"), "10:03": new("b")})
    study = history.what_if(timedelta(seconds=10))
    assert found(study) == [("a", "dispatched-earlier", "")]
    assert study.cadence is not None and study.cadence.every == 2 * MINUTE
