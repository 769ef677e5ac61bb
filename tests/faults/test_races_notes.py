"""Notes of dolt_watch survive a simultaneous `bd note` by an agent.

bd reads the notes and then writes all of them, so it can overwrite a note. dolt_watch appends
inside one transaction. Another note between its snapshot and its commit causes a conflict (1213),
and dolt_watch appends the note again.
"""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from dolt_watch.core.decisions.policy import Scope
from dolt_watch.targets.registry import TargetPool
from tests.acceptance.conftest import Watch, rows_of
from tests.acceptance.conftest import watch as _watch
from tests.faults import racing
from tests.faults.racing import AT_ONCE, Racer, changes_of_issues, racers
from tests.faults.test_races_bd import said
from tests.support.clocks import ShiftedClock
from tests.support.lines import build
from tests.support.matrix import few_or_many

watch, tally = _watch, racing.tally


def ours(watch: Watch, bead: str) -> list[str]:
    """Return the lines of decisions in the bead's notes. Those of ``restore`` repeat others, so
    they are omitted.
    """
    rows = watch.sql(
        "SELECT detail FROM watch_decision WHERE bead_id = %s AND kind <> 'note' ORDER BY version",
        bead,
    )
    return [
        line for (detail,) in rows for line in orjson.loads(detail)["wrote"]["note"].splitlines()
    ]


def lines(watch: Watch, bead: str) -> list[str]:
    return str(watch.sql("SELECT notes FROM issues WHERE id = %s", bead)[0][0]).splitlines()


def until_quiet(worker: Racer) -> None:
    """Tick until a tick has nothing to do."""
    for _ in range(5):
        worker.go()
        answer = worker.done()
        assert (answer.code, answer.error) == (0, "")
        if not answer.rounds:
            return
    raise AssertionError(f"it never ends: {answer.lines}")


def who_overwrote(watch: Watch, since: str, bead: str, line: str) -> str:
    """Return the author of the commit that removed a line from the notes: 'dolt-watch', or bd's."""
    columns = ("to_id", "from_notes", "to_notes", "to_commit")
    for name, before, after, commit in changes_of_issues(watch.engine, since, *columns):
        if (
            name == bead
            and line in (before or "").splitlines()
            and line not in (after or "").splitlines()
        ):
            found = watch.engine.commit_of(commit)
            assert found is not None
            return found.author
    return "never written"


def race(watch: Watch, tally: list[str], rounds: int) -> None:
    chance = random.Random(11)
    overwritten, failed, restored, conflicts = 0, 0, 0, 0
    lost_to_bd, problems = 0, []
    since = watch.head()
    with (
        racers(1, watch.bd.url, watch.board.url, *AT_ONCE) as [worker],
        ThreadPoolExecutor(3) as people,
    ):
        for number in range(rounds):
            bead = f"bd-n{number}"
            watch.committed(rows_of([bead]))
            words = [f"agent {number}.{each}" for each in range(1 + number % 2)]
            notes = {word: people.submit(watch.bd.attempt, "note", bead, word) for word in words}
            # Spread the race over the time that bd needs to read and write.
            time.sleep(chance.uniform(0, 0.14))
            worker.go()
            answer = worker.done()
            assert (answer.code, answer.error, answer.dispatched) == (0, "", 1)
            written = [word for word, note in notes.items() if said(note.result()) == "ok"]
            failed += len(words) - len(written)
            until_quiet(worker)
            stands = lines(watch, bead)
            for line in ours(watch, bead):
                if stands.count(line) != 1:
                    problems.append(f"{bead}: {stands.count(line)} × {line!r} in {stands}")
            for word in written:
                if word not in stands:
                    who = who_overwrote(watch, since, bead, word)
                    lost_to_bd += who != "dolt-watch"
                    if who == "dolt-watch":
                        problems.append(f"{bead}: dolt_watch overwrote {word!r}: {stands}")
            again = watch.kinds(bead).count("note")
            restored, overwritten, conflicts = (
                restored + again,
                overwritten + bool(again),
                conflicts + answer.conflicts,
            )
            since = watch.head()
    tally.append(
        f"notes  {rounds} rounds: bd overwrote dolt_watch's note in {overwritten}, restored by"
        f" {restored} decisions; bd failed {failed}; bd lost to bd {lost_to_bd}; {conflicts}"
        " conflicts of claims"
    )
    assert problems == []


@pytest.mark.parametrize("rounds", few_or_many(5, 10))
def test_notes_survive(watch: Watch, tally: list[str], rounds: int) -> None:
    race(watch, tally, rounds)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_notes_survive_two_hundred_rounds(watch: Watch, tally: list[str]) -> None:
    race(watch, tally, 200)


# -- rare cases of a close race, one at a time --------------------


def test_both_notes_overwritten_at_once_come_back(watch: Watch) -> None:
    """bd read before the claim and wrote after the outcome, so one commit removes two notes."""
    bead = watch.assigned("overwritten")
    watch.dispatch()
    claimed, dispatched = lines(watch, bead)
    overwrite(watch, bead, "agent's own")
    watch.dispatch()
    assert sorted(lines(watch, bead)) == sorted(["agent's own", claimed, dispatched])
    assert watch.dispatch()[0].rounds == 0


def test_overwritten_one_after_the_other(watch: Watch) -> None:
    """Each of two commits between two ticks removes one note of dolt_watch."""
    bead = watch.assigned("overwritten twice")
    watch.dispatch()
    claimed, dispatched = lines(watch, bead)
    overwrite(watch, bead, f"{dispatched}\nfirst")
    overwrite(watch, bead, "second")
    watch.dispatch()
    assert sorted(lines(watch, bead)) == sorted(["second", claimed, dispatched])


def test_what_came_back_by_itself_is_not_appended_twice(watch: Watch) -> None:
    """Another `bd note` that had read before the first one wrote restores the note."""
    bead = watch.assigned("overwritten and restored")
    watch.dispatch()
    before = lines(watch, bead)
    overwrite(watch, bead, "first")
    overwrite(watch, bead, "\n".join([*before, "second"]))
    watch.dispatch()
    assert lines(watch, bead) == [*before, "second"]
    assert watch.dispatch()[0].rounds == 0


def overwrite(watch: Watch, bead: str, notes: str) -> None:
    """Write notes that were read earlier, as `bd note` may."""
    watch.committed(
        f"UPDATE issues SET notes = '{notes.replace(chr(39), chr(39) * 2)}' WHERE id = '{bead}'"
    )


@pytest.mark.parametrize("when", ["claim", "report"])
def test_a_note_within_our_transaction_is_kept(watch: Watch, when: str) -> None:
    """bd commits its note after the snapshot of dolt_watch and before its commit.

    The note of dolt_watch conflicts, and is written again.
    """
    bead = watch.assigned("in between")
    targets = TargetPool(watch.settings.targets)
    built: Any = build(watch.engine, watch.settings, targets, ShiftedClock(), lambda line: None)
    begin, done = built.executor.ledger._read_snapshot, list[str]()

    def meddled(tx: Any, context: Any, decision: Any) -> Any:
        found = begin(tx, context, decision)
        if not done and (decision.kind == "claim") == (when == "claim"):
            done.append(decision.kind)
            watch.bd.run("note", bead, "in between")
        return found

    built.executor.ledger._read_snapshot = meddled
    assert built.tick(Scope(dispatch=True)).dispatched == 1
    targets.close()
    claimed, dispatched = ours(watch, bead)
    after = (
        [claimed, "in between", dispatched]
        if when == "report"
        else ["in between", claimed, dispatched]
    )
    assert lines(watch, bead) == after
    assert watch.sent() == [bead]
