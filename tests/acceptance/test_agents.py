"""Agents with real bd: one that finishes, a slow one, one that dies, and a manual dispatch."""

from __future__ import annotations

from datetime import timedelta

from tests.acceptance.conftest import Watch


def test_one_that_claims_notes_comments_and_closes(watch: Watch) -> None:
    bead = watch.assigned("work")
    assert watch.tick()[0].dispatched == 1
    job = watch.record(bead)["job"]
    watch.bd.run("note", bead, f"claimed by agent {job}")
    watch.bd.run("comment", bead, "half way")
    assert watch.tick(timedelta(minutes=20))[0].reaped == 0
    watch.bd.close(bead, "-r", f"completed by agent {job}")
    assert watch.tick(timedelta(hours=2))[0].reaped == 0
    assert (watch.status(bead), watch.kinds(bead), watch.sent()) == (
        "closed",
        ["claim", "dispatched"],
        [bead],
    )
    notes = watch.notes(bead)
    assert notes[0].startswith("auto-dispatcher claimed at ") and notes[1:] == [
        f"dispatched: job={job}",
        f"claimed by agent {job}",
    ]


def test_one_that_is_slow_and_noisy_is_left_alone_until_it_falls_silent(watch: Watch) -> None:
    bead = watch.assigned("slow")
    watch.tick()
    begun = watch.now()
    for minutes in range(20, 200, 20):
        at = begun + timedelta(minutes=minutes)
        watch.committed(
            f"INSERT INTO comments (id, issue_id, author, text) VALUES (UUID(), '{bead}', 'agent',"
            f" 'at {minutes}')",
            date=at,
        )
        outcome, lines = watch.reap(timedelta(minutes=minutes + 15))
        assert outcome.reaped == 0, lines
    outcome, lines = watch.reap(timedelta(minutes=180 + 35))
    assert (outcome.reaped, watch.status(bead)) == (1, "blocked"), lines
    assert watch.notes(bead)[-1].startswith("reaper: no progress for ")


def test_one_that_dies_without_a_word_and_whose_work_is_finished_later(watch: Watch) -> None:
    """A bead stays closed if its agent closes it after the reap."""
    bead = watch.assigned("dies")
    watch.tick()
    assert watch.tick(timedelta(minutes=40))[0].reaped == 1
    watch.bd.close(bead, "-r", "it was not dead")
    assert watch.tick(timedelta(hours=3))[0].exit_code == 0
    assert (watch.status(bead), watch.kinds(bead)) == ("closed", ["claim", "dispatched", "reap"])


def test_a_person_s_own_dispatch_is_taken_up_by_the_reaper(watch: Watch) -> None:
    bead = watch.bd.create("by hand", "--acceptance", "it works", "-a", "agent")
    watch.bd.run("update", bead, "-s", "in_progress")
    assert watch.tick()[0].dispatched == 0
    assert watch.tick(timedelta(minutes=20))[0].reaped == 0
    assert watch.tick(timedelta(minutes=40))[0].reaped == 1
    assert (watch.status(bead), watch.kinds(bead), watch.sent()) == ("blocked", ["reap"], [])
