"""A silent agent's bead is blocked with the original's note, and any sign of life prevents it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from tests.acceptance.conftest import ASSIGNED, Watch
from tests.support.servers import message

HALF_HOUR, LATER = timedelta(minutes=30, seconds=30), timedelta(minutes=31, seconds=30)


def test_not_at_thirty_minutes_but_at_thirty_one(watch: Watch) -> None:
    bead = watch.assigned("falls silent")
    watch.dispatch()
    assert (watch.reap(HALF_HOUR)[0].reaped, watch.status(bead)) == (0, "in_progress")
    before = watch.head()
    outcome, lines = watch.reap(LATER)
    assert (outcome.exit_code, outcome.reaped) == (0, 1)
    assert f"REAPED {bead} (stale 31m)" in lines
    assert watch.status(bead) == "blocked"
    assert watch.notes(bead)[-1] == "reaper: no progress for 31m (threshold 30m) — blocking"
    [commit] = watch.engine.commits(before, watch.head())
    assert f"Bead: {bead}\nDecision: reap\nVersion: 3" in message(watch.engine, commit.hash)
    [(actor,)] = watch.sql(
        "SELECT actor FROM watch_decision WHERE bead_id = %s AND kind = 'reap'", bead
    )
    assert actor == "beads-reaper"
    assert watch.sql(
        "SELECT COUNT(*) FROM events WHERE issue_id = %s AND actor = 'beads-reaper'", bead
    ) == [(1,)]
    assert watch.reap(timedelta(hours=2))[0].reaped == 0
    assert watch.bd.close(bead)


def test_a_dry_run_by_the_real_command_reaps_nothing(watch: Watch) -> None:
    bead = watch.assigned("falls silent")
    watch.dispatch()
    before = watch.head()
    ran = watch.command("reap", "--dry-run", "--now", "2099-01-01T00:00:00Z")
    assert ran.code == 0
    assert f"would reap {bead}: no progress for " in ran.stdout
    assert (watch.head(), watch.status(bead)) == (before, "in_progress")


def test_a_reaped_bead_frees_its_slot(watch: Watch) -> None:
    first, second = watch.assigned("dies", "-p", "0"), watch.assigned("waits")
    watch.dispatch()
    outcome, _ = watch.tick(LATER)
    assert (outcome.reaped, outcome.dispatched, watch.sent()) == (1, 1, [first, second])


def test_a_person_s_own_run_is_reaped_too(watch: Watch) -> None:
    bead = watch.bd.create("by hand", "-a", "agent")
    watch.bd.run("update", bead, "-s", "in_progress")
    outcome, lines = watch.reap()
    assert outcome.reaped == 0
    assert f"keeping {bead} (age 0m < 30m)" in lines
    assert watch.reap(LATER)[0].reaped == 1
    assert (watch.status(bead), watch.kinds(bead)) == ("blocked", ["reap"])


def test_a_bead_of_somebody_else_is_not(watch: Watch) -> None:
    bead = watch.bd.create("a person's", "--acceptance", "x", "-a", "bob")
    watch.bd.run("update", bead, "-s", "in_progress")
    assert watch.reap(timedelta(days=9))[0].reaped == 0
    assert watch.status(bead) == "in_progress"


def none(_said: str) -> None:
    """Return None, for a lambda that must return nothing."""


def old(watch: Watch, *beads: str) -> None:
    """Insert beads that fell silent 40 minutes ago."""
    for bead in beads:
        watch.sql(
            "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes,"
            " assignee, status, updated_at) VALUES (%s, 't', '', '', 'x', '', 'agent',"
            " 'in_progress', UTC_TIMESTAMP() - INTERVAL 40 MINUTE)",
            bead,
        )
    watch.committed(date=watch.now() - timedelta(minutes=40))


def test_a_fresh_uncommitted_comment_is_a_sign_of_life(watch: Watch) -> None:
    old(watch, "bd-dead", "bd-alive")
    for adopt in (False, True):
        watch.change(adopt=adopt)
        watch.left_comment("bd-alive", "still at it")
        assert "comments" in watch.engine.dirty()
        watch.reap()
        assert [watch.status(bead) for bead in ("bd-dead", "bd-alive")] == [
            "blocked",
            "in_progress",
        ]
        assert ("comments" in watch.engine.dirty()) is not adopt
    assert watch.reap(LATER)[0].reaped == 1  # The bead has fallen silent.


def test_an_agent_s_note_keeps_it_alive(watch: Watch) -> None:
    old(watch, "bd-noted", "bd-labelled", "bd-silent")
    watch.dispatch()  # Later changes come from the change feed.
    watch.bd.run("note", "bd-noted", "half way")
    watch.bd.run("label", "add", "bd-labelled", "busy")
    assert watch.reap()[0].reaped == 1
    assert [watch.status(bead) for bead in ("bd-noted", "bd-labelled", "bd-silent")] == [
        "in_progress",
        "in_progress",
        "blocked",
    ]


def test_our_own_notes_are_no_sign_of_life(watch: Watch) -> None:
    """The notes of dolt_watch don't delay the reap."""
    bead = watch.assigned("silent")
    watch.dispatch()
    watch.tick(timedelta(minutes=10))
    assert watch.record(bead).get("sign") is None  # Default values aren't saved.
    assert watch.reap(LATER)[0].reaped == 1


def test_deleted_while_it_runs_and_the_tick_goes_on(watch: Watch) -> None:
    gone, other = watch.assigned("deleted", "-p", "0"), watch.bd.create("by hand", *ASSIGNED)
    watch.dispatch()
    watch.bd.run("update", other, "-s", "in_progress")
    watch.bd.run("delete", gone, "--force")
    outcome, _ = watch.tick(LATER)
    assert (outcome.exit_code, outcome.reaped, watch.status(other)) == (0, 1, "blocked")
    assert watch.kinds(gone) == ["claim", "dispatched"]


def test_deleted_while_it_is_sent(watch: Watch) -> None:
    """The outcome is recorded only in the bead's stream."""
    bead = watch.assigned("deleted", "-p", "0")
    watch.bd.create("bd takes an empty database for a fresh clone, and imports its JSONL")
    watch.board.on_accept = lambda bead, _job: none(watch.bd.run("delete", bead, "--force"))
    outcome, _ = watch.dispatch()
    assert (outcome.exit_code, outcome.dispatched, watch.kinds(bead)) == (
        0,
        1,
        ["claim", "dispatched"],
    )
    second = watch.assigned("the next")
    watch.board.on_accept = None
    assert watch.dispatch()[0].dispatched == 1
    assert watch.sent() == [bead, second]


def test_finished_while_it_is_sent(watch: Watch) -> None:
    """A bead that its agent closes before the answer stays closed, and has the note."""
    bead = watch.assigned("quick")
    watch.board.on_accept = lambda bead, _job: none(watch.bd.close(bead))
    assert watch.dispatch()[0].exit_code == 0
    assert (watch.status(bead), watch.kinds(bead)) == ("closed", ["claim", "dispatched"])
    assert watch.notes(bead)[-1].startswith("dispatched: job=")
    assert watch.reap(LATER)[0].reaped == 0


def test_requeued_by_one_tick_dispatched_by_the_next(watch: Watch) -> None:
    """A tick doesn't dispatch the bead that it requeued. The next tick does."""
    rule = replace(watch.settings.rules[0], on_stale="requeue")
    watch.change(rules=(rule,))
    bead = watch.assigned("goes silent")
    watch.tick(timedelta(seconds=10))
    assert watch.tick(timedelta(minutes=40))[0].reaped == 1
    assert watch.tick(timedelta(minutes=42))[0].dispatched == 1
    assert watch.sent() == [bead, bead]
