"""Two clones that sync by push and pull.

With one watcher and users on both sides, each bead is sent once. Two watchers are a mistake. The
tests show the conflict that reveals it, and follow the steps in ``docs/clones.md`` to resolve it.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.engines import Engine
from dolt_watch.ledger.schema import LOCAL
from dolt_watch.targets.protocol import Target
from dolt_watch.targets.registry import TargetPool
from tests.acceptance.conftest import rows_of
from tests.faults.cloning import Clones
from tests.faults.racing import ROOT
from tests.support.beads import create_tracker
from tests.support.servers import call

PAGE = (ROOT / "docs" / "clones.md").read_text(encoding="utf-8")
STEPS = [
    (side, text.strip())
    for side, text in re.findall(r"^```sql (here|there)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
]


def test_the_local_tables_enter_no_history(engine: Engine) -> None:
    """A user who commits all tables doesn't commit the local tables of dolt_watch."""
    create_tracker(engine, "dolt-watch <dolt-watch@here>")
    assert {(name,) for name in LOCAL} <= set(
        engine.query("SELECT pattern FROM dolt_ignore WHERE ignored")
    )
    assert engine.dirty() == set()
    before = engine.query("SELECT HASHOF('HEAD')")[0][0]
    with engine.transaction() as tx:
        tx.execute("UPDATE watch_cursor SET fence = 'moved'")
        tx.execute(rows_of(["bd-1"]))
        tx.commit()
    call(engine, "dolt_commit", "-Am", "everything")
    assert engine.changed_tables(before, engine.query("SELECT HASHOF('HEAD')")[0][0]) == {"issues"}


def test_one_watcher_and_people_on_both_sides(clones: Clones) -> None:
    """Either side makes merge commits.

    After a fast-forward onto a merge from there, the local line is its second parent.
    """
    here, there = clones.here, clones.clone()
    expected: Counter[str] = Counter()
    for number in range(6):
        there.commit(rows_of([f"bd-there{number}"]))
        here.commit(rows_of([f"bd-here{number}"]))
        here.tick()
        if number % 2:
            here.push()
            there.pull()  # This merges there.
            there.push()
        else:
            there.push()
        here.pull()  # This merges here, or fast-forwards.
        here.tick()
        here.push()
        there.pull()
        expected.update([f"bd-here{number}", f"bd-there{number}"])
        assert clones.sent() == expected
    assert here.head() == there.head()
    assert (
        len(here.sql("SELECT commit_hash FROM dolt_commit_ancestors WHERE parent_index = 1")) >= 6
    )
    for bead in expected:
        assert [(version, kind) for version, kind, _ in there.stream(bead)] == [
            (1, "claim"),
            (2, "dispatched"),
        ]
    before = here.head()
    assert here.tick().rounds == 0
    assert here.head() == before


def test_a_clone_has_to_be_initialised(clones: Clones) -> None:
    """A clone lacks the local tables.

    New ones are filled from the ledger, and nothing claimed or sent is sent again.
    """
    here = clones.here

    class Dies:
        timeout = 30.0

        def __init__(self, target: Target) -> None:
            self.capacity = target.capacity

        def dispatch(self, *asked: Any) -> Any:
            raise KeyboardInterrupt

    here.commit(rows_of(["bd-1sent"]))
    assert here.tick().dispatched == 1
    here.commit(rows_of(["bd-2claimed"]))
    own = TargetPool(here.settings.targets)
    with pytest.raises(KeyboardInterrupt):
        here.tick(targets=lambda name: Dies(own(name)))  # type: ignore[arg-type, return-value]
    own.close()
    here.commit(rows_of(["bd-3waits"]))
    here.push()
    there = clones.clone()

    refused = there.command("dispatch")
    assert (refused.returncode, "`dolt_watch init`" in refused.stderr, refused.stdout) == (
        3,
        True,
        "",
    )
    assert clones.sent() == {"bd-1sent": 1}
    made = there.command("init")
    assert (made.returncode, made.stderr) == (0, "")
    held = there.command("dispatch")
    assert (held.returncode, held.stderr, clones.sent()) == (0, "", {"bd-1sent": 1})
    assert "holding bd-3waits" in held.stdout
    assert there.command("resume").returncode == 0
    done = there.command("dispatch")
    assert (done.returncode, done.stderr) == (0, "")
    assert clones.sent() == {"bd-1sent": 1, "bd-3waits": 1}

    # This is after the deadline of the dead worker's claim. Its outcome is unknown, so it isn't
    # sent.
    later = there.tick(timedelta(minutes=2))
    assert (later.unknown, clones.sent()) == (1, {"bd-1sent": 1, "bd-3waits": 1})
    assert [kind for _, kind, _ in there.stream("bd-2claimed")] == ["claim", "overdue"]


def test_two_watchers_and_how_it_is_mended(clones: Clones) -> None:
    here = clones.here
    here.commit(rows_of(["bd-both"]))
    here.push()
    there = clones.clone()
    assert there.command("init").returncode == 0
    assert (here.tick().dispatched, there.tick().dispatched) == (1, 1)
    assert clones.sent() == {"bd-both": 2}  # Two watchers cause this.
    there.push()
    (job_here, job_there) = (side.stream("bd-both")[1][2] for side in (here, there))

    here.commit("UPDATE issues SET title = 'local' WHERE id = 'bd-both'")
    with pytest.raises(Exception, match="Merge conflict detected"):
        here.pull()
    assert here.tick().rounds > 0  # The claim was rolled back, so there is no entry.
    before = here.head()

    assert [side for side, _ in STEPS] == ["here"] * 4 + ["there"]
    pull, look, keep, finish, follow = (text.rstrip(";").split(";\n") for _, text in STEPS)
    with contextlib.closing(here.server.connect(here.settings.address.database)) as session:  # type: ignore[union-attr]

        def step(texts: list[str]) -> list[tuple[Any, ...]]:
            with session.cursor() as cursor:
                for text in texts:
                    cursor.execute(text)
                return list(cursor.fetchall())

        assert dict(step(pull)) == {"watch_decision": 2, "issues": 1}
        for _ in range(2):
            tick = here.command("dispatch")
            assert (tick.returncode, tick.stderr) == (0, "")
            assert "merge" in tick.stdout
            assert "skipping tick" in tick.stdout
        assert here.head() == before
        assert sorted(step(look)) == [
            ("bd-both", 1, "claim", "", ""),
            ("bd-both", 2, "dispatched", job_here, job_there),
        ]
        step(keep)
        assert "skipping tick" in here.command("dispatch").stdout
        step(finish)
    there.sql(*follow)

    assert here.head() == there.head() != before
    assert here.stream("bd-both") == [(1, "claim", ""), (2, "dispatched", job_here)]
    for shift in (0, 2):
        assert here.tick(timedelta(minutes=shift)).exit_code == 0
        # The test lets the second watcher tick, although a user should have stopped it.
        assert there.tick(timedelta(minutes=shift)).exit_code == 0
    assert clones.sent() == {"bd-both": 2}
    there.commit(rows_of(["bd-next"]))
    there.pull()
    there.push()
    here.pull()
    assert here.tick().dispatched == 1
    assert clones.sent() == {"bd-both": 2, "bd-next": 1}
    for side in (here, there):
        versions = [version for version, _, _ in side.stream("bd-both")]
        assert versions == list(range(1, len(versions) + 1))
