"""Merges never start a second agent.

Real clones merge a teammate's changes during an attempt. The commands of the teammate are SQL here,
in the shapes that real bd writes (`tests/shapes`, and the recordings of three releases).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions import planner
from dolt_watch.core.projection import projection
from dolt_watch.replay.verification import EARLIER
from tests.acceptance.conftest import rows_of
from tests.faults.cloning import Clones, Side

LATER = "updated_at = DATE_ADD(UTC_TIMESTAMP(), INTERVAL 1 HOUR)"
NOTE = f"UPDATE issues SET notes = CONCAT(notes, 'from the clone'), {LATER} WHERE id = 'bd-1'"


def row(side: Side, bead: str = "bd-1") -> tuple[Any, ...]:
    return side.sql(f"SELECT status, assignee, notes FROM issues WHERE id = '{bead}'")[0]


def kinds(side: Side, bead: str = "bd-1") -> list[str]:
    return [kind for _, kind, _ in side.stream(bead)]


def begun(clones: Clones, *, push: bool = True) -> Side:
    """Dispatch a bead here. Return the clone there, which was created before the dispatch.

    Args:
        push: Whether to push the claim to the remote.
    """
    clones.here.commit(rows_of(["bd-1"]))
    clones.here.push()
    there = clones.clone()
    assert clones.here.tick().dispatched == 1
    if push:
        clones.here.push()
    return there


def merge(side: Side, keep: str | None, after: tuple[str, ...] = ()) -> None:
    """Pull, run statements, and commit the merge.

    Args:
        keep: The side of a conflicting row to keep, ``--ours`` or ``--theirs``.
        after: Statements to run before the commit.
    """
    name = side.settings.address.database  # type: ignore[union-attr]
    with contextlib.closing(side.server.connect(name)) as session, session.cursor() as cursor:
        cursor.execute("SET @@dolt_allow_commit_conflicts = 1")
        cursor.execute("CALL DOLT_PULL('origin', 'main')")
        cursor.execute("SELECT `table` FROM dolt_conflicts")
        tables = [table for (table,) in cursor.fetchall()]
        assert tables == (["issues"] if keep else [])
        for table in tables:
            cursor.execute("CALL DOLT_CONFLICTS_RESOLVE(%s, %s)", (keep, table))
        for sql in after:
            cursor.execute(sql)
        if tables:
            cursor.execute("CALL DOLT_COMMIT('-Am', 'merge by hand')")


def settled(clones: Clones, kinds_: list[str], sent: int = 1) -> None:
    """Run two further ticks, and check that they send nothing."""
    here = clones.here
    for shift in (0, 1, 2):
        here.tick(timedelta(minutes=shift))
    assert kinds(here) == kinds_
    assert clones.sent() == {"bd-1": sent}


@contextlib.contextmanager
def earlier() -> Iterator[None]:
    """Use projection and entries of a release that took each change of a row for a user's act."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(projection, "kept", lambda bead, event: False)
        written = planner.record_inputs
        patch.setattr(
            planner,
            "record_inputs",
            lambda *args: written(*args)._replace(acts=False),
        )
        yield


def test_a_teammate_keeps_their_row_and_it_is_pulled_here(clones: Clones) -> None:
    """The older row comes back with a time of change that is newer than the claim."""
    here, there = clones.here, begun(clones)
    there.commit(NOTE)
    merge(there, "--ours")
    there.push()
    here.pull()
    assert row(here) == ("open", "agent", "from the clone")
    settled(clones, ["claim", "dispatched", "restore", "note"])
    status, assignee, notes = row(here)
    job = here.stream("bd-1")[1][2]
    assert (status, assignee) == ("in_progress", "agent")
    assert notes.splitlines()[:2] == ["from the clone", f"dispatch restored: job={job}"]
    assert f"dispatched: job={job}" in notes.splitlines()


def test_their_row_is_kept_here(clones: Clones) -> None:
    here, there = clones.here, begun(clones, push=False)
    there.commit(NOTE)
    there.push()
    merge(here, "--theirs")
    assert row(here) == ("open", "agent", "from the clone")
    settled(clones, ["claim", "dispatched", "restore", "note"])
    assert row(here)[0] == "in_progress"


def test_our_row_is_kept_here(clones: Clones) -> None:
    here, there = clones.here, begun(clones, push=False)
    there.commit(NOTE)
    there.push()
    merge(here, "--ours")
    settled(clones, ["claim", "dispatched"])
    assert row(here)[0] == "in_progress"


def test_put_together_by_hand_it_is_held_until_a_resume(clones: Clones) -> None:
    """The bead is open and has the notes, and history doesn't show the intention of the user."""
    here, there = clones.here, begun(clones, push=False)
    there.commit(NOTE)
    there.push()
    merge(here, "--ours", ("UPDATE issues SET status = 'open' WHERE id = 'bd-1'",))
    settled(clones, ["claim", "dispatched"])
    status = here.command("status")
    assert "held" in status.stdout
    assert "dolt_watch resume" in here.command("doctor").stdout
    assert here.command("resume").returncode == 0
    settled(clones, ["claim", "dispatched", "claim", "dispatched"], sent=2)


@pytest.mark.parametrize("way", ["merge there", "merge here", "fast-forward"])
def test_somebody_who_had_seen_the_claim_sets_it_open_there(clones: Clones, way: str) -> None:
    """Reopening is that user's act on either side of the merge, so a second attempt begins."""
    here, there = clones.here, begun(clones)
    there.pull()
    there.commit(f"UPDATE issues SET status = 'open', {LATER} WHERE id = 'bd-1'")
    if way != "fast-forward":
        here.commit(
            "INSERT INTO comments (id, issue_id, author, text) VALUES (UUID(), 'bd-1', 'bob', 'hm')"
        )
    if way == "merge there":
        here.push()
        there.pull()
    there.push()
    here.pull()
    assert row(here)[0] == "open"
    settled(clones, ["claim", "dispatched", "claim", "dispatched"], sent=2)


def test_a_second_attempt_is_not_ended_by_who_had_seen_the_first_only(clones: Clones) -> None:
    here, there = clones.here, begun(clones)
    there.pull()
    there.commit("UPDATE issues SET status = 'open' WHERE id = 'bd-1'")
    here.commit("UPDATE issues SET status = 'open' WHERE id = 'bd-1'")
    assert here.tick().dispatched == 1
    there.push()
    here.pull()
    settled(clones, ["claim", "dispatched", "claim", "dispatched"], sent=2)


def test_reassigned_there_and_back_by_who_had_not_seen_the_claim(clones: Clones) -> None:
    """Both merges are clean, and neither ends an attempt that its line doesn't contain."""
    here, there = clones.here, begun(clones, push=False)
    for assignee in ("bob", "agent"):
        there.commit(
            f"UPDATE issues SET assignee = '{assignee}', updated_at = updated_at WHERE id = 'bd-1'"
        )
        there.push()
        here.pull()
        here.tick()
    settled(clones, ["claim", "dispatched"])
    assert row(here)[:2] == ("in_progress", "agent")


OLD_ROW = {
    "an import over the whole row": (
        "UPDATE issues SET status = 'open', notes = '', started_at = NULL, updated_at ="
        " UTC_TIMESTAMP() WHERE id = 'bd-1'"
    ),
    "an older table": "CALL DOLT_CHECKOUT('HEAD~2', '--', 'issues')",
}


@pytest.mark.parametrize("how", [*OLD_ROW, "a revert"])
def test_an_older_row_comes_back_in_a_commit_of_its_own(clones: Clones, how: str) -> None:
    here = clones.here
    here.commit(rows_of(["bd-1"]))
    assert here.tick().dispatched == 1
    # The revert removes the entries of dolt_watch, so the tick writes them again first.
    if how == "a revert":
        here.sql("CALL DOLT_REVERT('HEAD')", "CALL DOLT_REVERT('HEAD~2')")
    else:
        here.sql(OLD_ROW[how], "CALL DOLT_COMMIT('-Am', 'by hand')")
    assert row(here)[0] == "open"
    for shift in (0, 1, 2):
        here.tick(timedelta(minutes=shift))
    assert clones.sent() == {"bd-1": 1}
    assert row(here)[0] == "in_progress"


def test_set_open_and_the_notes_written_anew_at_once_is_held(clones: Clones) -> None:
    here = clones.here
    here.commit(rows_of(["bd-1"]))
    here.tick()
    here.commit("UPDATE issues SET status = 'open', notes = 'start over' WHERE id = 'bd-1'")
    settled(clones, ["claim", "dispatched", "note"])
    here.commit("UPDATE issues SET status = 'blocked' WHERE id = 'bd-1'")
    # This is clearly a user's own commit.
    here.commit("UPDATE issues SET status = 'open' WHERE id = 'bd-1'")
    settled(clones, ["claim", "dispatched", "note", "claim", "dispatched"], sent=2)


def test_deleted_and_imported_again(clones: Clones) -> None:
    here = clones.here
    here.commit(rows_of(["bd-1"]))
    here.tick()
    here.commit("DELETE FROM issues WHERE id = 'bd-1'")
    here.tick()
    here.commit(rows_of(["bd-1"]))
    settled(clones, ["claim", "dispatched"])
    assert here.command("resume").returncode == 0
    settled(clones, ["claim", "dispatched", "claim", "dispatched"], sent=2)


def test_history_comes_out_the_same(clones: Clones) -> None:
    """Verification reproduces every decision, and `replay` accepts the history."""
    here, there = clones.here, begun(clones)
    there.commit(NOTE)
    merge(there, "--ours")
    there.push()
    here.pull()
    for _ in range(3):
        here.tick()
    here.push()
    there.pull()
    there.commit(f"UPDATE issues SET status = 'open', {LATER} WHERE id = 'bd-1'")
    here.commit(
        "INSERT INTO comments (id, issue_id, author, text) VALUES (UUID(), 'bd-1', 'bob', 'hm')"
    )
    here.push()
    there.pull()
    there.push()
    here.pull()
    here.tick()
    assert clones.sent() == {"bd-1": 2}
    same, differences, unverifiable = here.verified()
    assert (differences, unverifiable.total()) == ([], 0)
    assert same >= 5
    replayed = here.command("replay")
    assert (replayed.returncode, replayed.stderr) == (0, "")
    assert here.command("why", "bd-1").returncode == 0


def test_a_decision_of_before_this_rule_is_no_difference(clones: Clones) -> None:
    """In an earlier release, a merge restored the row, and a second claim followed."""
    here, there = clones.here, begun(clones)
    there.commit(NOTE)
    merge(there, "--ours")
    there.push()
    here.pull()
    with earlier():
        here.tick()
    assert clones.sent() == {"bd-1": 2}
    _, differences, unverifiable = here.verified()
    assert (differences, dict(unverifiable)) == ([], {EARLIER: 1})
