"""Changes of history between two ticks.

They are merges, flattening, deletions, new columns, and edits in commits of dolt_watch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.controller.tick_result import TickResult
from dolt_watch.core.model import Capacity
from dolt_watch.engines.connect import open_engine
from tests.acceptance.conftest import Watch, rows_of

COMMIT = "CALL DOLT_COMMIT('-Am', 'by hand')"


def test_assigned_unassigned_and_assigned_again(watch: Watch) -> None:
    bead = watch.assigned("make up your mind")
    watch.bd.run("assign", bead, "")
    watch.bd.run("assign", bead, "agent")
    assert (watch.dispatch()[0].dispatched, watch.sent()) == (1, [bead])
    other = watch.assigned("rather not")
    watch.bd.run("assign", other, "")
    watch.bd.close(bead)
    assert (watch.dispatch()[0].dispatched, watch.sent()) == (0, [bead])


def test_deleted_before(watch: Watch) -> None:
    gone, stays = watch.assigned("gone", "-p", "0"), watch.assigned("stays")
    watch.board.busy = True
    watch.dispatch()  # Both beads wait.
    watch.bd.run("delete", gone, "--force")
    watch.board.busy = False
    assert (watch.dispatch()[0].dispatched, watch.sent()) == (1, [stays])


@pytest.mark.parametrize("parent", ["first", "second"])
def test_assigned_by_a_merge(watch: Watch, parent: str) -> None:
    """The side branch assigns the bead while main continues.

    With 'second', main is fast-forwarded to a merge made on the side branch.
    """
    running, merged = (
        watch.assigned("runs already"),
        watch.bd.create("on the branch", "--acceptance", "x"),
    )
    watch.server.sql(
        "CALL DOLT_COMMIT('-Am', 'rest', '--allow-empty')",
        "CALL DOLT_BRANCH('side')",
        database=watch.bd.database,
    )
    watch.dispatch()
    assign = f"UPDATE issues SET assignee = 'agent' WHERE id = '{merged}'"
    to, merge = "CALL DOLT_CHECKOUT('{}')", "CALL DOLT_MERGE('{}', '--no-ff', '-m', 'merge')"
    steps = [to.format("side"), assign, COMMIT]
    if parent == "first":
        steps += [to.format("main"), merge.format("side")]
    else:
        steps += [merge.format("main"), to.format("main"), "CALL DOLT_MERGE('side')"]
    watch.server.sql(*steps, database=watch.bd.database)
    assert watch.head() == watch.sql("SELECT HASHOF('main')")[0][0]
    made = watch.engine.commit_of(watch.head())
    assert made is not None
    assert len(made.parents) == 2
    outcome, lines = watch.dispatch()
    assert (outcome.dispatched, watch.sent()) == (0, [running]), lines
    watch.bd.close(running)
    assert (watch.dispatch()[0].dispatched, watch.sent()) == (1, [running, merged])
    assert watch.kinds(running) == watch.kinds(merged) == ["claim", "dispatched"]
    assert watch.kinds("") == []  # The state isn't rebuilt.


def test_a_merge_in_progress_is_left_alone(watch: Watch) -> None:
    bead = watch.assigned("conflicts")
    titled = "UPDATE issues SET title = '{}' WHERE id = '" + bead + "'"
    with watch.server.connect(watch.bd.database) as connection, connection.cursor() as cursor:
        for text in (
            "SET @@dolt_allow_commit_conflicts = 1",
            "CALL DOLT_COMMIT('-Am', 'rest', '--allow-empty')",
            "CALL DOLT_BRANCH('side')",
            titled.format("a"),
            COMMIT,
            "CALL DOLT_CHECKOUT('side')",
            titled.format("b"),
            COMMIT,
            "CALL DOLT_CHECKOUT('main')",
            "CALL DOLT_MERGE('side')",
        ):
            cursor.execute(text)
            cursor.fetchall()
        before = watch.head()
        outcome, lines = watch.dispatch()
        assert (outcome.exit_code, watch.head(), watch.sent()) == (0, before, [])
        assert any("skipping tick" in line for line in lines)
        cursor.execute("CALL DOLT_MERGE('--abort')")
    assert (watch.dispatch()[0].dispatched, watch.sent()) == (1, [bead])


def test_flattened_between_two_ticks(watch: Watch) -> None:
    first = watch.assigned("first", "-p", "0")
    watch.dispatch()
    second = watch.assigned("second")
    watch.bd.run("flatten", "--force")
    assert watch.dispatch()[0].dispatched == 0  # The first bead takes the only slot.
    assert watch.kinds("") == ["resync"]
    watch.bd.close(first)
    assert watch.dispatch()[0].dispatched == 1
    watch.bd.run("flatten", "--force")
    assert watch.dispatch()[0].dispatched == 0
    assert watch.reap(timedelta(minutes=40))[0].reaped == 1
    assert watch.sent() == [first, second]
    assert watch.kinds(first) == ["claim", "dispatched"]
    assert watch.kinds(second) == ["claim", "dispatched", "reap"]
    assert watch.kinds("") == ["resync", "resync"]


def test_paused_before_the_first_tick(watch: Watch) -> None:
    """No bead is held, because the ledger contains no attempt with a lost outcome."""
    bead = watch.assigned("goes when resumed")
    assert watch.command("pause", "--reason", "not yet").code == 0
    assert watch.dispatch()[0].dispatched == 0
    assert watch.command("resume").code == 0
    assert (watch.dispatch()[0].dispatched, watch.sent(), watch.kinds("")) == (
        1,
        [bead],
        ["pause", "resume"],
    )


def test_paused_and_resumed_before_the_first_tick(watch: Watch) -> None:
    bead = watch.assigned("goes")
    assert (watch.command("pause", "--reason", "not yet").code, watch.command("resume").code) == (
        0,
        0,
    )
    assert (watch.dispatch()[0].dispatched, watch.sent()) == (1, [bead])


def test_flattened_while_something_is_due(watch: Watch) -> None:
    watch.dispatch()
    bead = watch.assigned("due")
    watch.bd.run("flatten", "--force")
    assert (watch.dispatch()[0].dispatched, watch.sent(), watch.kinds("")) == (
        1,
        [bead],
        ["resync"],
    )


def test_columns_come_and_go(watch: Watch) -> None:
    first = watch.assigned("before", "-p", "0")
    second = watch.assigned("after")
    watch.dispatch()
    watch.committed("ALTER TABLE issues ADD COLUMN mood VARCHAR(20) DEFAULT 'well'")
    watch.bd.close(first)
    watch.committed(f"UPDATE issues SET mood = 'grim' WHERE id = '{second}'")
    outcome, lines = watch.dispatch()
    assert (outcome.dispatched, watch.sent()) == (1, [first, second]), lines
    watch.committed(f"UPDATE issues SET mood = 'fine' WHERE id = '{second}'")
    assert watch.reap(timedelta(minutes=5))[0].exit_code == 0
    assert watch.record(second)["sign"] is not None
    third = watch.assigned("the last")
    watch.committed("ALTER TABLE issues DROP COLUMN mood", "ALTER TABLE issues DROP COLUMN payload")
    watch.committed(f"UPDATE issues SET status = 'closed' WHERE id = '{second}'")
    outcome, lines = watch.dispatch()
    assert (outcome.dispatched, watch.sent()) == (1, [first, second, third]), lines


def test_a_column_that_a_rule_uses_is_gone(watch: Watch) -> None:
    watch.assigned("before")
    watch.dispatch()
    watch.committed("ALTER TABLE issues DROP COLUMN acceptance_criteria")
    ran = watch.command("dispatch")
    assert ran.code in (2, 3)
    assert "acceptance_criteria" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("edit", ["priority = 0", "notes = 'by a person'", "design = 'new'"])
def test_an_edit_swept_into_our_claim_is_seen_as_theirs(watch: Watch, edit: str) -> None:
    """The commit of the claim includes an uncommitted edit of another writer."""
    watch.change(adopt=False)
    bead = watch.assigned("edited")
    watch.sql(f"UPDATE issues SET {edit} WHERE id = %s", bead)
    assert watch.dispatch()[0].dispatched == 1
    sign = watch.record(bead)["sign"]
    assert sign["what"] == edit.split()[0]
    assert watch.status(bead) == "in_progress"


def test_another_assignee_uncommitted_stops_the_claim(watch: Watch) -> None:
    watch.change(adopt=False)
    bead = watch.assigned("taken away")
    watch.sql("UPDATE issues SET assignee = 'bob' WHERE id = %s", bead)
    outcome, lines = watch.dispatch()
    assert (outcome.exit_code, watch.sent(), watch.kinds(bead)) == (0, [], []), lines
    assert watch.status(bead) == "open"


@pytest.mark.parametrize(
    ("edit", "kinds", "sign"),
    [
        ("assignee = 'bob', updated_at = updated_at", ["claim", "release"], None),
        ("priority = 0, updated_at = updated_at", ["claim", "dispatched"], "priority"),
        (
            "notes = 'by a person'",
            ["claim", "dispatched"],
            "notes",
        ),  # The cells conflict, so the claim is planned again.
        (
            "assignee = 'bob', updated_at = '2020-01-01'",
            [],
            None,
        ),  # The cells conflict, and the bead no longer matches.
    ],
)
def test_an_edit_in_the_instant_of_our_claim(
    watch: Watch, edit: str, kinds: list[str], sign: str | None
) -> None:
    """The edit happens between the snapshot of a claim and its commit.

    Dolt merges cell by cell, so the commit succeeds if the cells differ.
    """
    bead = watch.assigned("edited")
    at_commit(watch, f"UPDATE issues SET {edit} WHERE id = '{bead}'")
    outcome, lines = watch.dispatch()
    assert (outcome.exit_code, watch.kinds(bead)) == (0, kinds), lines
    assert watch.sent() == ([bead] if "dispatched" in kinds else [])
    shown = watch.shown(bead)
    if "bob" in edit:
        assert (shown["status"], shown["assignee"]) == ("open", "bob")
    else:
        assert (watch.record(bead)["sign"] or {}).get("what") == sign
    if "by a person" in edit:
        assert watch.notes(bead)[0] == "by a person"
        assert len(watch.notes(bead)) == 3


def at_commit(watch: Watch, text: str) -> None:
    """Let another writer SQL-commit a statement just before the next Dolt commit is staged."""
    link = watch.engine._link  # type: ignore[attr-defined]
    send, todo = link.send, [text]

    def racing(sql: str, params: Sequence[Any] = (), **more: Any) -> Any:
        if todo and sql.startswith("CALL DOLT_ADD"):
            watch.sql(todo.pop())
        return send(sql, params, **more)

    link.send = racing


def test_uncommitted_rows_are_adopted_first(watch: Watch) -> None:
    bead = watch.bd.create("by SQL", "--acceptance", "x")
    watch.sql("UPDATE issues SET assignee = 'agent' WHERE id = %s", bead)
    outcome, lines = watch.dispatch()
    assert (outcome.dispatched, watch.sent()) == (1, [bead]), lines
    messages = [row[0] for row in watch.sql("SELECT message FROM dolt_log LIMIT 3")]
    assert messages[2].startswith("dolt-watch: adopt uncommitted changes")
    assert f"Bead: {bead}" in messages[2]


def test_dispatch_and_reap_at_the_same_moment(watch: Watch) -> None:
    """Two workers with separate connections succeed in each of four rounds."""
    watch.change(rules=(watch.settings.rules[0].__class__(name="agent", max_in_flight=9),))
    other = Watch(
        watch.bd,
        watch.board,
        watch.server,
        watch.env,
        watch.settings,
        open_engine(watch.settings.address),
    )
    for number in range(4):
        silent, due = f"bd-silent{number}", f"bd-due{number}"
        running = f"UPDATE issues SET status = 'in_progress' WHERE id = '{silent}'"
        watch.committed(rows_of([silent, due]), running)
        ended: list[tuple[str, TickResult]] = []
        start = threading.Barrier(2)

        def reap(
            ended: list[tuple[str, TickResult]] = ended, start: threading.Barrier = start
        ) -> None:
            start.wait()
            ended.append(("reap", other.reap(timedelta(minutes=40))[0]))

        thread = threading.Thread(target=reap)
        thread.start()
        start.wait()
        ended.append(("dispatch", watch.dispatch(timedelta(minutes=40))[0]))
        thread.join(60)
        assert {name: outcome.exit_code for name, outcome in ended} == {"dispatch": 0, "reap": 0}
        assert watch.kinds(silent) == ["reap"]
        assert watch.kinds(due)[:2] == ["claim", "dispatched"]
    other.engine.close()
    assert len(watch.sent()) == 4


def test_dispatch_and_reap_as_two_processes(watch: Watch) -> None:
    silent, due = "bd-silent", watch.assigned("due")
    started = (
        "UPDATE issues SET status = 'in_progress', updated_at = UTC_TIMESTAMP() - INTERVAL 40"
        f" MINUTE WHERE id = '{silent}'"
    )
    watch.committed(rows_of([silent]), started, date=watch.now() - timedelta(minutes=40))
    same = ("--set", "settle=0s")
    with ThreadPoolExecutor() as pool:
        ran = list(pool.map(lambda kind: watch.command(kind, *same), ("dispatch", "reap")))
    assert [(each.code, each.stderr) for each in ran] == [(0, "")] * 2
    assert (watch.kinds(due), watch.kinds(silent)) == (["claim", "dispatched"], ["reap"])
    assert watch.sent() == [due]


def test_six_workers_one_post(watch: Watch) -> None:
    bead = watch.assigned("wanted by six")
    workers = [
        Watch(
            watch.bd,
            watch.board,
            watch.server,
            watch.env,
            watch.settings,
            open_engine(watch.settings.address),
        )
        for _ in range(6)
    ]
    codes: list[int] = []
    threads = [
        threading.Thread(
            target=lambda w=w: codes.append(w.dispatch(timedelta(seconds=10))[0].exit_code)
        )
        for w in workers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for worker in workers:
        worker.engine.close()
    assert (codes, watch.sent(), watch.kinds(bead)) == ([0] * 6, [bead], ["claim", "dispatched"])


def _reset(watch: Watch, to: str) -> None:
    watch.server.sql(f"CALL DOLT_RESET('--hard', '{to}')", database=watch.bd.database)


def test_a_reset_that_loses_a_live_attempt(watch: Watch) -> None:
    """The bead isn't dispatched again, although its row is open and the ledger is empty.

    The agent still runs.
    """
    bead = watch.assigned("runs on")
    before = watch.head()
    watch.dispatch()
    job = watch.record(bead)["job"]
    _reset(watch, before)
    assert watch.kinds(bead) == []
    status = watch.command("status")  # A read-only command.
    assert (status.code, f"job {job}" in status.stdout) == (0, True), status
    outcome, lines = watch.dispatch()
    assert (outcome.dispatched, watch.sent()) == (0, [bead]), lines
    assert (watch.kinds(bead), watch.kinds("")) == (["restore"], ["resync"])
    assert (watch.status(bead), watch.notes(bead)) == (
        "in_progress",
        [f"dispatch restored: job={job}"],
    )
    record = watch.record(bead)
    assert (record["phase"], record["job"], record["attempt"]) == ("running", job, 1)
    assert watch.reap(timedelta(minutes=40))[0].reaped == 1


@pytest.mark.parametrize("more", [False, True], ids=["to the cursor", "to the cursor and on"])
def test_a_reset_that_loses_a_claim_not_saved_yet(watch: Watch, more: bool) -> None:
    """The lost claim is restored from ``watch_attempt``.

    The worker died after its claim, and a reset removed the claim's commit.
    """
    bead = watch.assigned("claimed")
    watch.reap(timedelta(minutes=1))  # This tick saves the state and dispatches nothing.
    before = watch.head()

    class Killed(BaseException):
        pass

    class Dies:
        timeout = 1.0

        def capacity(self) -> Capacity:
            return Capacity(1)

        def dispatch(self, task: object, token: str) -> None:
            raise Killed

    with pytest.raises(Killed):
        watch.dispatch(targets=lambda name: Dies())  # type: ignore[arg-type,return-value]
    assert watch.kinds(bead) == ["claim"]
    _reset(watch, before)
    if more:
        # By SQL, because the reset removed bd's settings.
        watch.committed(rows_of(["bd-else"], "'nobody'"))
    assert (watch.dispatch()[0].dispatched, watch.kinds(bead), watch.record(bead)["phase"]) == (
        0,
        ["restore"],
        "claimed",
    )
    outcome, _ = watch.dispatch(timedelta(minutes=5))
    assert (outcome.unknown, watch.kinds(bead), watch.sent()) == (1, ["restore", "overdue"], [])


def test_a_copy_without_the_local_tables(watch: Watch) -> None:
    """The waiting beads of a copy are held, because it lacks the outcomes of later attempts.

    The copy is a clone, or a backup on a new server.
    """
    running, waiting = watch.assigned("runs", "-p", "0"), watch.assigned("waits")
    watch.dispatch()
    for table in ("watch_cursor", "watch_bead", "watch_attempt"):
        watch.sql(f"DROP TABLE {table}")
    ran = watch.command("dispatch")
    assert (ran.code, "`dolt_watch init`" in ran.stderr) == (3, True)
    assert watch.command("init").code == 0
    watch.bd.close(running)
    outcome, lines = watch.dispatch()
    assert (outcome.dispatched, outcome.exit_code, watch.kinds("")) == (0, 0, ["resync"]), lines
    assert any("held until `dolt_watch resume`" in line for line in lines), lines
    assert (watch.record(waiting)["phase"], watch.sent()) == ("held", [running])
    status = watch.command("status").stdout
    assert "held" in status and "dolt_watch resume" in status
    watch.bd.run("flatten", "--force")
    assert (watch.dispatch()[0].dispatched, watch.record(waiting)["phase"]) == (0, "held")
    assert watch.command("resume").code == 0
    assert (watch.dispatch()[0].dispatched, watch.sent()) == (1, [running, waiting])


def test_an_old_row_that_bd_imports_again_is_not_sent_again_and_one_set_open_is(
    watch: Watch,
) -> None:
    """An imported old row starts no second attempt, but a reopened bead does.

    bd's build of May 2026 imports `.beads/issues.jsonl` with every command and resets rows.
    """
    bead = watch.assigned("imported again")
    # The watcher's clock is some seconds ahead of bd's clock.
    before = watch.now() - timedelta(seconds=30)
    assert watch.dispatch()[0].dispatched == 1
    watch.committed(
        "UPDATE issues SET status = 'open', notes = '', started_at = NULL, updated_at ="
        f" '{before:%Y-%m-%d %H:%M:%S}' WHERE id = '{bead}'"
    )
    watch.tick(timedelta(minutes=1))
    assert (watch.sent(), watch.status(bead)) == ([bead], "in_progress")
    assert watch.kinds(bead) == ["claim", "dispatched", "restore", "note"]
    watch.bd.run("update", bead, "--status", "open")
    watch.tick(timedelta(minutes=2))
    assert watch.sent() == [bead, bead]
