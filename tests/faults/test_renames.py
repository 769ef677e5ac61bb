"""`bd rename` and `bd rename-prefix` during an attempt.

The attempt continues under the new ID, and history records the rename.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.model.target_answers import Answer
from dolt_watch.targets.protocol import BeadTask, Target
from dolt_watch.targets.registry import TargetPool
from tests.acceptance.conftest import rows_of
from tests.faults.cloning import REAP, Clones, Side

ONE = ("rules.agent.max_in_flight=1",)
SIDES = ("comments", "events", "labels", "dependencies")


def rename(side: Side, pairs: Sequence[tuple[str, str]], *, commit: bool = True) -> None:
    """Rename beads as bd does.

    Only the ID and ``updated_at`` change (recordings of 1.0.2, 1.2.2 and 1.3).
    """
    texts = ["SET FOREIGN_KEY_CHECKS = 0"]
    for old, new in pairs:
        texts.append(
            f"UPDATE issues SET id = '{new}', updated_at = UTC_TIMESTAMP() WHERE id = '{old}'"
        )
        texts += [
            f"UPDATE {table} SET issue_id = '{new}' WHERE issue_id = '{old}'" for table in SIDES
        ]
        texts.append(
            "INSERT INTO events (id, issue_id, event_type, actor, old_value, new_value) "
            f"VALUES (UUID(), '{new}', 'renamed', 'ada', '{old}', '{new}')"
        )
    side.sql(*texts, *(["CALL DOLT_COMMIT('-Am', 'rename')"] if commit else []))


def stream(side: Side, bead: str) -> list[tuple[str, int, str, str]]:
    """Return kind, attempt, job and former ID of each entry."""
    rows = side.sql(
        f"SELECT kind, attempt, job_id, detail FROM watch_decision WHERE bead_id = '{bead}' ORDER"
        " BY version"
    )
    return [
        (kind, attempt, job, json.loads(detail).get("renamed_from", ""))
        for kind, attempt, job, detail in rows
    ]


def begun(side: Side, *beads: str) -> list[str]:
    """Dispatch beads that have a label and a comment. Return their jobs."""
    side.commit(rows_of(beads))
    for bead in beads:
        side.tick()
        side.sql(
            f"INSERT INTO labels (issue_id, label) VALUES ('{bead}', 'backend')",
            f"INSERT INTO comments (id, issue_id, author, text) VALUES (UUID(), '{bead}', 'ada',"
            " 'hello')",
            "CALL DOLT_COMMIT('-Am', 'beside it')",
        )
    return [side.stream(bead)[1][2] for bead in beads]


@pytest.mark.parametrize("commit", [True, False], ids=["in bd's commit", "adopted"])
def test_a_live_attempt_goes_on_under_the_new_id(clones: Clones, commit: bool) -> None:
    here = clones.here
    (job,) = begun(here, "bd-1")
    rename(here, [("bd-1", "bd-new")], commit=commit)
    for shift in (0, 1, 2):
        here.tick(timedelta(minutes=shift))
    assert clones.sent() == {"bd-1": 1}
    assert stream(here, "bd-new") == [("renamed", 1, job, "bd-1")]
    assert here.sql("SELECT token FROM watch_decision WHERE bead_id = 'bd-new'") == here.sql(
        "SELECT DISTINCT token FROM watch_decision WHERE bead_id = 'bd-1'"
    )
    assert "bd-new" in here.command("status").stdout
    assert here.tick(timedelta(minutes=40), scope=REAP).reaped == 1
    assert [kind for kind, *_ in stream(here, "bd-new")] == ["renamed", "reap"]
    assert here.sql("SELECT status FROM issues") == [("blocked",)]
    _, differences, unverifiable = here.verified()
    assert (differences, unverifiable.total()) == ([], 0)
    replayed = here.command("replay")
    assert (replayed.returncode, replayed.stderr) == (0, "")
    told = here.command("why", "bd-new").stdout
    assert "renamed from bd-1" in told


def test_its_slot_stays_taken(clones: Clones) -> None:
    here = clones.here
    begun(here, "bd-1")
    rename(here, [("bd-1", "bd-new")])
    here.commit(rows_of(["bd-2"]))
    here.tick(sets=ONE)
    assert clones.sent() == {"bd-1": 1}
    here.commit("UPDATE issues SET status = 'closed' WHERE id = 'bd-new'")
    here.tick(sets=ONE)
    assert clones.sent() == {"bd-1": 1, "bd-2": 1}


def test_a_prefix_of_many_beads_at_once(clones: Clones) -> None:
    """All have the same title and second of creation, and each keeps the end of its ID."""
    here = clones.here
    beads = [f"bd-{number}" for number in range(5)]
    jobs = begun(here, *beads)
    here.commit(rows_of([f"bd-x{number}" for number in range(5)]))
    pairs = [
        (bead, bead.replace("bd-", "kb-"))
        for bead in [*beads, *(f"bd-x{number}" for number in range(5))]
    ]
    rename(here, pairs)
    for shift in (0, 1):
        here.tick(timedelta(minutes=shift))
    assert [stream(here, f"kb-{number}") for number in range(5)] == [
        [("renamed", 1, job, bead)] for bead, job in zip(beads, jobs, strict=True)
    ]
    assert clones.sent() == dict.fromkeys([*beads, *(f"kb-x{number}" for number in range(5))], 1)


def test_the_count_of_attempts_goes_along(clones: Clones) -> None:
    here = clones.here
    here.commit(rows_of(["bd-1"]))
    clones.board.answer_next(500)
    assert here.tick().failed == 1
    rename(here, [("bd-1", "bd-new")])
    here.tick()
    assert [(kind, attempt) for kind, attempt, *_ in stream(here, "bd-new")] == [("renamed", 1)]
    here.tick(timedelta(hours=1))
    assert [(kind, attempt) for kind, attempt, *_ in stream(here, "bd-new")] == [
        ("renamed", 1),
        ("claim", 2),
        ("dispatched", 2),
    ]


@pytest.mark.parametrize("lost", [False, True], ids=["folded", "the state rebuilt"])
def test_an_answer_that_was_under_way(clones: Clones, lost: bool) -> None:
    """The worker reports under the old ID, which has no row. The attempt belongs to the new ID."""
    here = clones.here
    here.commit(rows_of(["bd-1"]))
    own = TargetPool(here.settings.targets)

    class Renames:
        timeout = 30.0

        def __init__(self, target: Target) -> None:
            self.target, self.capacity = target, target.capacity

        def dispatch(self, task: BeadTask, token: str) -> Answer:
            rename(here, [("bd-1", "bd-new")])
            return self.target.dispatch(task, token)

    here.tick(targets=lambda name: Renames(own(name)))  # type: ignore[arg-type, return-value]
    own.close()
    if lost:
        here.sql("DELETE FROM watch_bead", "UPDATE watch_cursor SET commit_hash = '', saved = ''")
    for shift in (0, 2, 15):
        here.tick(timedelta(minutes=shift))
    job = here.stream("bd-1")[1][2]
    assert clones.sent() == {"bd-1": 1}
    kinds: list[Any] = [kind for kind, *_ in stream(here, "bd-new")]
    assert kinds[0] == "renamed"
    assert set(kinds) <= {"renamed", "note"}
    assert (
        f"dispatched: job={job}" in here.sql("SELECT notes FROM issues WHERE id = 'bd-new'")[0][0]
        or lost
    )
    assert here.tick(timedelta(minutes=40), scope=REAP).reaped == 1


@pytest.mark.parametrize("which", ["flattened", "before its entry"])
def test_state_made_anew_knows_it(clones: Clones, which: str) -> None:
    here = clones.here
    (job,) = begun(here, "bd-1")
    rename(here, [("bd-1", "bd-new")])
    if which == "flattened":
        here.tick()
        assert stream(here, "bd-new") == [("renamed", 1, job, "bd-1")]
    root = here.sql("SELECT commit_hash FROM dolt_log ORDER BY date LIMIT 1")[0][0]
    here.sql(f"CALL DOLT_RESET('--soft', '{root}')", "CALL DOLT_COMMIT('-Am', 'flatten')")
    for shift in (0, 1):
        here.tick(timedelta(minutes=shift))
    assert clones.sent() == {"bd-1": 1}
    assert stream(here, "bd-new") == [("renamed", 1, job, "bd-1")]
    assert here.tick(timedelta(minutes=40), scope=REAP).reaped == 1
