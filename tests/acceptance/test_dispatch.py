"""Dispatch of beads that are assigned to ``agent``, and of no others.

The output names each bead and the reason.
"""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta

import pytest

from dolt_watch.beads.schema import tracker_schema
from tests.acceptance.conftest import Watch, rows_of
from tests.stubs.beadboard import STATUS, dead_url
from tests.support.servers import message

CLAIMED = re.compile(r"auto-dispatcher claimed at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NOBODY = "no eligible beads (assignee=agent, status=open, has acceptance_criteria)"


def test_created_assigned_dispatched(watch: Watch) -> None:
    bead = watch.bd.create("do it", "--acceptance", "it works")
    watch.bd.run("assign", bead, "agent")
    dirty, before = watch.engine.dirty(), watch.head()
    outcome, lines = watch.dispatch()
    job = watch.board.accepted[0][1]
    assert (outcome.exit_code, outcome.dispatched) == (0, 1)
    assert [line for line in lines if bead in line] == [
        f"picked bead: {bead}",
        f"dispatched {bead} as job {job}",
    ]

    claimed, dispatched = watch.notes(bead)
    assert watch.status(bead) == "in_progress"
    assert CLAIMED.fullmatch(claimed)
    assert dispatched == f"dispatched: job={job}"

    [request] = watch.board.dispatches
    token = watch.sql(
        "SELECT token FROM watch_decision WHERE bead_id = %s AND kind = 'claim'", bead
    )[0][0]
    assert request.json == {"taskId": bead}
    assert token
    assert request.headers["idempotency-key"] == token

    report, claim = watch.engine.commits(before, watch.head())
    for commit, kind, version in ((claim, "claim", 1), (report, "dispatched", 2)):
        done = subprocess.run(
            ["git", "interpret-trailers", "--parse"],
            input=message(watch.engine, commit.hash),
            capture_output=True,
            text=True,
            check=True,
        )
        trailers = dict(line.split(": ", 1) for line in done.stdout.splitlines())
        assert {
            "Bead": bead,
            "Decision": kind,
            "Version": str(version),
            "Attempt": "1",
            "Rule": "agent",
        }.items() <= trailers.items()
        assert {"Cause", "Observed"} <= trailers.keys()
        assert commit.author == "dolt-watch"
    assert f"Job: {job}" in message(watch.engine, report.hash)
    assert watch.engine.dirty() == dirty

    actors = watch.sql(
        "SELECT DISTINCT actor FROM events WHERE issue_id = %s AND actor LIKE 'beads-%%'", bead
    )
    assert actors == [("beads-dispatcher",)]
    watch.bd.run("note", bead, "bd works on")
    watch.bd.close(bead)
    assert watch.notes(bead) == [claimed, dispatched, "bd works on"]


def test_the_real_command(watch: Watch) -> None:
    assert watch.command("init").code == 0
    bead = watch.assigned("by the command")
    dry = watch.command("dispatch", "--dry-run", "--now", "2099-01-01T00:00:00Z")
    assert (dry.code, watch.sent(), watch.status(bead)) == (0, [], "open")
    assert f"would dispatch {bead}" in dry.stdout
    ran = watch.command("dispatch", "--set", "settle=0s")
    assert (ran.code, ran.stderr, watch.sent()) == (0, "", [bead])
    assert f"picked bead: {bead}" in ran.stdout
    assert watch.command("reap").code == 0


def test_what_does_not_match_is_left_alone(watch: Watch) -> None:
    watch.bd.create("no acceptance criteria", "-a", "agent")
    watch.bd.create("of another user", "--acceptance", "x", "-a", "bob")
    watch.bd.create("nobody's", "--acceptance", "x")
    watch.bd.run("update", watch.assigned("blocked"), "-s", "blocked")
    watch.bd.close(watch.assigned("closed"))
    watch.committed(rows_of(["bd-null"], "NULL"), rows_of(["bd-empty"], "''"))
    before = watch.head()
    outcome, lines = watch.dispatch()
    assert (outcome.exit_code, outcome.dispatched, lines[-1]) == (0, 0, NOBODY)
    assert (watch.head(), watch.sent()) == (before, [])
    assert watch.board.requests == []


def test_a_busy_target_takes_nothing(watch: Watch) -> None:
    bead = watch.assigned("waits")
    watch.board.busy = True
    before = watch.head()
    outcome, lines = watch.dispatch()
    assert (outcome.exit_code, watch.head(), watch.sent(), watch.status(bead)) == (
        0,
        before,
        [],
        "open",
    )
    assert "holding rule agent: claude-agent-service is busy (1 bead in its queue)" in lines
    assert "claude-agent-service is busy — skipping tick" in lines
    watch.board.busy = False
    assert watch.dispatch()[0].dispatched == 1


@pytest.mark.parametrize("how", ["dead", 500, "garbage"])
def test_a_target_that_is_down_takes_nothing(watch: Watch, how: str | int) -> None:
    if how == "dead":
        target = watch.settings.targets["beadboard"]
        watch.change(targets={"beadboard": type(target)("beadboard", url=dead_url())})
    before = watch.head()
    assert watch.dispatch()[0].exit_code == 0  # No bead waits, so no target is asked.
    bead = watch.assigned("waits")
    before = watch.head()
    if how != "dead":
        watch.board.script(STATUS, how)
    outcome, lines = watch.dispatch()
    assert (outcome.exit_code, watch.sent(), watch.status(bead), watch.kinds("")) == (
        1,
        [],
        "open",
        ["outage"],
    )
    assert any(
        line.startswith("holding rule agent: target beadboard has been unreachable since ")
        for line in lines
    ), lines
    opened = watch.head()
    assert opened != before
    assert watch.dispatch()[0].exit_code == 1
    assert watch.head() == opened, "one entry, not one a try"


def test_a_dead_target_turns_the_real_command_red(watch: Watch) -> None:
    watch.assigned("waits")
    for _ in range(2):  # The command fails as long as beads wait.
        ran = watch.command("dispatch", "--set", "settle=0s", env={"BEADBOARD_URL": dead_url()})
        assert (ran.code, "Traceback" in ran.stderr) == (1, False)


def test_in_the_original_s_order_one_by_one(watch: Watch) -> None:
    """Beads are dispatched by priority, then by the oldest ``updated_at``, then by ID.

    The next bead follows after the previous one is closed.
    """
    order = [
        ("bd-z", 0, "05"),
        ("bd-c", 1, "01"),
        ("bd-d", 1, "02"),
        ("bd-a", 2, "01"),
        ("bd-b", 2, "01"),
    ]
    insert = rows_of([bead for bead, _, _ in sorted(order)])
    times = [
        f"UPDATE issues SET priority = {priority}, updated_at = '2026-01-{day} 00:00:00' WHERE id ="
        f" '{bead}'"
        for bead, priority, day in order
    ]
    watch.committed(insert, *times)
    for place, (bead, _, _) in enumerate(order, 1):
        outcome, lines = watch.dispatch()
        assert (outcome.dispatched, watch.sent()[-1], len(watch.sent())) == (1, bead, place), lines
        assert watch.dispatch()[0].dispatched == 0  # The bead takes the only slot.
        watch.bd.close(bead)


def test_five_hundred_at_once_go_one_by_one(watch: Watch) -> None:
    watch.committed(rows_of([f"bd-x{number:03}" for number in range(500)]))
    outcome, lines = watch.dispatch()
    assert (outcome.dispatched, watch.sent()) == (1, ["bd-x000"])
    assert len(outcome.holds) == 499
    held = [line for line in lines if line.startswith("holding ")]
    assert held == [
        "holding rule agent: 1 of 1 in flight: bd-x000 (running) (499 beads in its queue)"
    ]
    assert watch.dispatch()[0].dispatched == 0


@pytest.mark.parametrize(
    "bead", ["bd-it's", 'bd-"q"', "bd-ünïcode-🎉", "bd-a b", "bd-100%s", "bd-\\n"]
)
def test_odd_ids(watch: Watch, bead: str) -> None:
    text = "it's \"quoted\"\nthree\r\nlines 🎉 \\ %s ? ' -- ;"
    watch.sql(
        "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes, assignee) "
        "VALUES (%s, %s, %s, '', %s, %s, 'agent')",
        bead,
        text,
        text,
        text,
        text,
    )
    watch.sql("CALL DOLT_COMMIT('-Am', 'odd')")
    outcome, _ = watch.dispatch()
    assert (outcome.exit_code, watch.sent()) == (0, [bead])
    [(notes, status)] = watch.sql("SELECT notes, status FROM issues WHERE id = %s", bead)
    assert notes.startswith(f"{text}\nauto-dispatcher claimed at ")
    assert status == "in_progress"
    assert watch.reap(timedelta(minutes=40))[0].reaped == 1
    [(after,)] = watch.sql("SELECT notes FROM issues WHERE id = %s", bead)
    assert after.startswith(notes + "\nreaper: no progress for ")


def test_notes_that_are_full_lose_nothing(watch: Watch) -> None:
    bead = watch.assigned("much said")
    # Too little space for a note.
    room = tracker_schema(watch.engine).text_limit("issues", "notes") - 15
    text = "ä" * 30_000 + "x" * (room - 60_000)
    watch.sql("UPDATE issues SET notes = %s WHERE id = %s", text, bead)
    watch.sql("CALL DOLT_COMMIT('-Am', 'much')")
    outcome, lines = watch.dispatch()
    assert (outcome.dispatched, watch.sent()) == (1, [bead])
    assert watch.sql("SELECT notes, status FROM issues WHERE id = %s", bead)[0] == (
        text,
        "in_progress",
    )
    assert sum(line.startswith(f"warning: the notes of {bead} are full") for line in lines) == 2
    assert watch.kinds(bead) == ["claim", "dispatched"]
    assert watch.reap(timedelta(minutes=40))[0].reaped == 1
    assert watch.sql("SELECT notes, status FROM issues WHERE id = %s", bead)[0] == (text, "blocked")


def test_sixty_kilobytes_of_notes_keep_room_for_ours(watch: Watch) -> None:
    bead = watch.assigned("much said")
    watch.bd.run("update", bead, "--notes", "n" * 60_000)
    assert watch.dispatch()[0].dispatched == 1
    assert watch.notes(bead)[0] == "n" * 60_000
    assert len(watch.notes(bead)) == 3
    watch.bd.close(bead)
