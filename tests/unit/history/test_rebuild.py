"""Rebuilds of the state while agents work: an attempt continues only with a sign of life."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.cli.composition import ledger
from dolt_watch.clock import DatabaseClock
from dolt_watch.core.model import GLOBAL, Decision, EntryKind
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress
from dolt_watch.inspection.status import collect_status
from dolt_watch.ledger.schema import migrate
from dolt_watch.replay.verification import verify
from dolt_watch.targets.protocol import BeadTask
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import AUTHOR, Light
from tests.support.history import History
from tests.support.lines import build_reader

ANEW = "assignee = 'agent' AND status = 'open' AND acceptance_criteria <> '' AND priority < 9"
"""A rule that matches the beads of the default rule. Its other text causes a rebuild."""


@pytest.fixture
def day(tmp_path: Path) -> Iterator[History]:
    made = History(FileAddress(str(tmp_path / "day.db")))
    with closing(made.engine):
        made.tick()
        made.at("10:00").new("bd-a")
        yield made


@pytest.fixture
def here(doltlite: Engine) -> Light:
    """Return a tracker in which bd-a is running."""
    made = Light(doltlite)
    made.assign("bd-a")
    made.tick()
    return made


def status(day: History) -> str:
    return str(day.engine.query("SELECT status FROM issues WHERE id = 'bd-a'")[0][0])


@pytest.mark.parametrize("by", ["comment", "row"])
def test_an_unknown_attempt_that_gave_a_sign_of_life_goes_on(day: History, by: str) -> None:
    day.target.says["bd-a"] = [Unknown("HTTP 502: fetch failed", 502)]
    day.at("10:01").tick()
    day.at("10:14")
    day.comment("bd-a") if by == "comment" else day.set("bd-a", description="half")
    day.at("10:15").tick()
    day.at("10:16").tick(when=ANEW)
    assert status(day) == "in_progress"
    assert any("keeping bd-a (age 2m" in line for line in day.lines)


def test_without_a_sign_it_is_tried_again(day: History) -> None:
    day.target.says["bd-a"] = [Unknown("HTTP 502: fetch failed", 502)]
    day.at("10:01").tick()
    day.at("10:16").tick(when=ANEW)
    assert status(day) == "open"


@pytest.mark.parametrize(("works", "expected"), [(True, "in_progress"), (False, "blocked")])
def test_an_agent_that_changes_only_the_row_is_alive(
    day: History, works: bool, expected: str
) -> None:
    day.at("10:01").tick()
    if works:
        day.at("10:40").set("bd-a", description="nearly done")
    day.at("10:45").tick(when=ANEW)
    assert status(day) == expected


def test_a_bead_from_a_clone_whose_clock_is_ahead_does_not_wait_for_it(day: History) -> None:
    day.at("10:01").tick()
    day.at("12:00").new("bd-b")
    day.set("bd-a", status="closed")
    day.at("10:05").tick()
    assert day.engine.query("SELECT status FROM issues WHERE id = 'bd-b'") == [("in_progress",)]


def test_a_comment_dated_ahead_counts_from_the_commit_that_has_it(here: Light) -> None:
    columns = "INSERT INTO comments (id, issue_id, author, text, created_at)"
    here.sql(f"{columns} VALUES ('c1', 'bd-a', 'agent', 'x', '2090-01-01 00:00:00')")
    here.change(when=ANEW)
    here.tick(timedelta(minutes=3))
    assert any("warning: a comment of bd-a by agent is dated" in line for line in here.lines)
    assert here.tick(timedelta(hours=2)).reaped == 1


@pytest.mark.parametrize("anew", [False, True])
def test_only_a_resume_lets_go_of_what_is_held(doltlite: Engine, anew: bool) -> None:
    """An edit doesn't end a hold, because the bead's own agent may have made it.

    After the bead was resumed and dispatched, no later rebuild holds it again.
    """
    here = Light(doltlite)
    here.assign("bd-z", "bd-a")
    here.tick()
    (first,), (second,) = here.target.sent, {"bd-a", "bd-z"} - set(here.target.sent)
    here.sql(f"UPDATE issues SET status = 'closed' WHERE id = '{first}'")
    for table in ("watch_cursor", "watch_bead", "watch_attempt"):
        doltlite.execute_ddl(f"DROP TABLE {table}")
    list(migrate(doltlite, AUTHOR))
    here.tick(timedelta(minutes=2))
    here.sql(
        "UPDATE issues SET notes = 'half done', updated_at = '2090-01-01 00:00:00' WHERE id ="
        f" '{second}'"
    )
    if anew:
        here.change(when=ANEW)
    here.tick(timedelta(minutes=4))
    assert here.target.sent == [first]
    ledger(doltlite, here.settings).record(Decision(EntryKind.RESUME, GLOBAL, "", 0, ""))
    here.tick(timedelta(minutes=6))
    assert here.target.sent == [first, second]
    here.sql(f"UPDATE issues SET status = 'closed' WHERE id = '{second}'")
    here.tick(timedelta(minutes=7))
    here.sql(f"UPDATE issues SET status = 'open' WHERE id = '{second}'")
    here.change(when=ANEW.replace("9", "8"))
    here.tick(timedelta(minutes=9))
    assert here.target.sent == [first, second, second]


IMPORTED = (
    "UPDATE issues SET status = 'open', notes = '', started_at = NULL, updated_at = '2026-01-01'"
    " WHERE id = 'bd-a'"
)


@pytest.mark.parametrize("anew", [False, True])
def test_an_old_row_that_is_imported_again_sends_nobody_a_second_time(
    here: Light, anew: bool
) -> None:
    here.sql(IMPORTED, author="beads <beads@local>")
    if anew:
        here.change(when=ANEW)
    here.tick(timedelta(minutes=2))
    assert (here.target.sent, *here.row("bd-a", "status")) == (["bd-a"], "in_progress")
    assert here.kinds("bd-a")[:3] == ["claim", "dispatched", "restore"]
    assert verify(here.past()).differences == []
    assert here.tick(timedelta(minutes=45)).reaped == 1


@pytest.mark.parametrize("own", ["", ", updated_at = '2026-01-01'"])
def test_whoever_sets_it_open_has_it_sent_again_whatever_their_clock_says(
    here: Light, own: str
) -> None:
    here.sql(f"UPDATE issues SET status = 'open'{own} WHERE id = 'bd-a'")
    here.tick(timedelta(minutes=2))
    assert here.target.sent == ["bd-a", "bd-a"]


class Killed(BaseException):
    """The death of a worker between its claim and the answer."""


def rename(here: Light, name: str) -> None:
    here.settings = replace(here.settings, rules=(replace(here.settings.rules[0], name=name),))


def test_a_renamed_rule_keeps_the_slots_of_what_runs(here: Light) -> None:
    here.assign("bd-b")
    rename(here, "agents")
    here.tick(timedelta(minutes=3))
    assert here.target.sent == ["bd-a"]
    assert here.tick(timedelta(minutes=45)).reaped == 1
    assert here.engine.query(
        "SELECT rule, attempt, job_id FROM watch_decision WHERE kind = 'reap'"
    ) == [("agents", 1, "job1")]


def die_in_the_next_dispatch(here: Light) -> None:
    """Run a tick that ends in its request, after its claim."""

    def dispatch(task: BeadTask, token: str) -> Answer:
        del here.target.dispatch
        raise Killed

    here.target.dispatch = dispatch  # type: ignore[method-assign]
    with pytest.raises(Killed):
        here.tick()


def test_a_claim_of_a_dead_worker_is_settled_under_the_new_name(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    die_in_the_next_dispatch(here)
    rename(here, "agents")
    for minutes in (3, 5, 30):
        here.tick(timedelta(minutes=minutes))
    assert here.kinds("bd-a") == ["claim", "overdue", "give-up"]


def test_a_pause_of_a_rule_that_was_renamed_is_told(here: Light) -> None:
    ledger(here.engine, here.settings).record(
        Decision(EntryKind.PAUSE, GLOBAL, "agent", 0, "", reason="lunch")
    )
    rename(here, "agents")
    here.tick(timedelta(minutes=3))
    assert (
        "warning: rule agent is paused (lunch), but it doesn't exist, so the pause has no effect"
        in here.lines
    )
    loop = build_reader(
        here.engine, here.settings, lambda name: here.target, DatabaseClock(), here.lines.append
    )
    (pause,) = collect_status(loop).pauses
    assert pause.startswith("rule agent, ") and pause.endswith(
        " (no effect: rule agent does not exist)"
    )


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("agent", ""),
        ("agents", ""),
        ("agent", "DELETE FROM watch_settings"),
        ("agent", "UPDATE watch_settings SET text = '7'"),
    ],
)
def test_a_new_column_in_a_rule_is_nobodys_edit(doltlite: Engine, name: str, lost: str) -> None:
    """A new column doesn't count as a user's edit unless history lacks the old rule.

    A user's edit makes the bead due again under the new rule too.
    """
    here = Light(doltlite, max_attempts=1)
    here.target.answers.append(Refused("HTTP 400: no", 400))
    here.assign("bd-a")
    here.tick()
    if lost:
        here.sql(lost)
    here.change(when=ANEW.replace("priority < 9", "pinned = 0"))
    rename(here, name)
    here.tick(timedelta(minutes=3))
    assert here.target.sent == ["bd-a"] * (2 if lost else 1)
    here.sql("UPDATE issues SET title = 'clearer', status = 'open' WHERE id = 'bd-a'")
    here.change(when=ANEW)
    here.tick(timedelta(minutes=5))
    assert here.target.sent == ["bd-a", "bd-a", *(("bd-a",) if lost else ())]


def test_a_clock_that_was_set_back_does_not_bring_a_pause_back(here: Light) -> None:
    for kind, minutes in ((EntryKind.PAUSE, 9), (EntryKind.RESUME, 5)):
        clock = ShiftedClock(timedelta(minutes=minutes))
        ledger(here.engine, here.settings, clock).record(Decision(kind, GLOBAL, "", 0, ""))
    here.assign("bd-b")
    here.change(when=ANEW, max_in_flight=2)
    here.tick(timedelta(minutes=11))
    assert here.target.sent == ["bd-a", "bd-b"]


def resume(here: Light, at: timedelta = timedelta(minutes=2)) -> None:
    ledger(here.engine, here.settings, ShiftedClock(at)).record(
        Decision(EntryKind.RESUME, GLOBAL, "", 0, "", reason="by hand")
    )


FREE = "UPDATE issues SET status = 'open', notes = '' WHERE id = 'bd-a'"
"""The row was freed, and history doesn't show that a user did it."""


@pytest.mark.parametrize("when", ["before the attempt", "during the attempt"])
def test_an_earlier_resume_does_not_end_a_hold(doltlite: Engine, when: str) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    if when == "before the attempt":
        resume(here, timedelta())
    here.tick()
    if when == "during the attempt":
        resume(here)
    here.sql(FREE)
    here.change(when=ANEW)
    here.tick(timedelta(minutes=3))
    assert here.target.sent == ["bd-a"], "its agent may be running"


def test_a_hold_outlives_the_notes_that_dolt_watch_appended_again(here: Light) -> None:
    here.sql(FREE)
    here.tick(timedelta(minutes=2))
    assert here.kinds("bd-a") == ["claim", "dispatched", "note"]
    here.change(when=ANEW)
    here.tick(timedelta(minutes=3))
    assert here.target.sent == ["bd-a"], "its agent may be running"


def test_a_user_frees_a_bead_whose_notes_were_appended_again(here: Light) -> None:
    here.sql("UPDATE issues SET notes = 'over' WHERE id = 'bd-a'")
    here.tick(timedelta(minutes=2))
    assert here.kinds("bd-a") == ["claim", "dispatched", "note"]
    here.sql("UPDATE issues SET status = 'open' WHERE id = 'bd-a'")
    here.change(when=ANEW)
    here.tick(timedelta(minutes=3))
    assert here.target.sent == ["bd-a", "bd-a"]


@pytest.mark.parametrize("lost", [False, True])
def test_a_later_resume_ends_a_hold(here: Light, lost: bool) -> None:
    """If history lost the commit that the resume observed, the user has to resume again."""
    here.sql(FREE)
    here.tick(timedelta(minutes=2))
    assert here.target.sent == ["bd-a"]
    resume(here)
    if lost:
        here.sql("UPDATE watch_decision SET observed_commit = 'gone' WHERE kind = 'resume'")
    here.change(when=ANEW)
    here.tick(timedelta(minutes=3))
    assert here.target.sent == (["bd-a"] if lost else ["bd-a", "bd-a"])
    resume(here)
    here.tick(timedelta(minutes=4))
    assert here.target.sent == ["bd-a", "bd-a"]


@pytest.mark.parametrize(
    ("answers", "rule", "kinds"),
    [
        ([Unknown("no answer")], {"on_unknown": "retry"}, ["unknown", "retry"]),
        ([Accepted("job")], {"on_stale": "requeue"}, ["dispatched", "requeue"]),
        ([Refused("HTTP 500: no", 500), Busy("HTTP 409", 409)], {}, ["failed", "claim", "busy"]),
    ],
)
def test_attempts_that_ended_count_after_a_rebuild(
    doltlite: Engine, answers: list[Answer], rule: Any, kinds: list[str]
) -> None:
    """The row ran until the attempt ended. Now it matches the rule again."""
    here = Light(doltlite, max_attempts=2, **rule)
    here.target.answers.extend([*answers, Refused("HTTP 500: no", 500)])
    here.assign("bd-a")
    for minutes in (1, 40):
        here.tick(timedelta(minutes=minutes))
    here.change(when=ANEW)
    for minutes in (41, 60):
        here.tick(timedelta(minutes=minutes))
    assert here.kinds("bd-a") == ["claim", *kinds, "claim", "quarantined"]


def test_a_bead_whose_last_outcome_was_unknown_stays_quarantined(doltlite: Engine) -> None:
    here = Light(doltlite, max_attempts=1, on_unknown="retry")
    here.target.answers.append(Unknown("no answer"))
    here.assign("bd-a")
    for minutes in (1, 20):
        here.tick(timedelta(minutes=minutes))
    here.change(when=ANEW)
    here.tick(timedelta(minutes=25))
    assert here.kinds("bd-a") == ["claim", "unknown", "quarantined"]
    here.sql("UPDATE issues SET title = 'clearer' WHERE id = 'bd-a'")
    here.tick(timedelta(minutes=30))
    assert here.target.sent == ["bd-a", "bd-a"]


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("left", ["closed", "deleted"])
def test_a_claim_waits_for_its_answer_although_its_row_left_every_rule(
    doltlite: Engine, left: str, rebuilt: bool
) -> None:
    """Its request may be under way. The bead that a user opens meanwhile is not sent beside it."""
    here = Light(doltlite)
    here.assign("bd-a")
    die_in_the_next_dispatch(here)
    if left == "closed":
        here.sql("UPDATE issues SET status = 'closed' WHERE id = 'bd-a'")
    else:
        here.sql("DELETE FROM issues WHERE id = 'bd-a'")
    here.tick(timedelta(seconds=65))
    if rebuilt:
        here.change(when=ANEW)
        here.tick(timedelta(seconds=66))
    if left == "closed":
        here.sql("UPDATE issues SET status = 'open' WHERE id = 'bd-a'")
    else:
        here.assign("bd-a")
    here.tick(timedelta(seconds=80))
    assert here.kinds("bd-a") == ["claim"]


DELETE = "DELETE FROM issues WHERE id = 'bd-a'"
CLOSE, OPEN = (f"UPDATE issues SET status = '{to}' WHERE id = 'bd-a'" for to in ("closed", "open"))
RESUME = "resume"


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize(
    ("steps", "sent"),
    [
        ([DELETE], 1),
        ([FREE, DELETE], 1),
        ([RESUME, DELETE], 1),
        ([FREE, RESUME, DELETE], 2),
        ([DELETE, RESUME], 2),
        ([CLOSE, DELETE], 2),
        ([OPEN, DELETE], 2),
    ],
    ids=["running", "held", "resumed before", "sent again", "resumed", "closed", "opened"],
)
def test_a_bead_that_was_deleted_during_its_attempt_is_held_under_its_id(
    here: Light, steps: list[str], sent: int, anew: bool
) -> None:
    """Its agent may be running. A state that is rebuilt before the bead is created again knows
    that.
    """
    for minute, step in enumerate(steps, start=2):
        if step == RESUME:
            resume(here, timedelta(minutes=minute))
        else:
            here.sql(step)
        here.tick(timedelta(minutes=minute))
    if anew:
        here.change(when=ANEW)
        here.tick(timedelta(minutes=10))
    here.assign("bd-a")
    here.tick(timedelta(minutes=11))
    assert here.target.sent == ["bd-a"] * sent
