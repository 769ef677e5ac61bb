"""``dolt_watch why``: timeline, conditions and required changes, now and in the past."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.config import load
from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.ledger.schema import LOCAL
from tests.acceptance.conftest import Ran, Watch, rows_of
from tests.conformance.test_feed import committed
from tests.stubs.beadboard import BeadBoardStub
from tests.support import beads
from tests.support.beads import Workspace
from tests.support.servers import Server

NO_SETTLE = ("--set", "settle=0s")


def why(watch: Watch, bead: str, *more: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    ran = watch.command("why", bead, "--format", "json", *NO_SETTLE, *more, env=env)
    assert (ran.code, ran.stderr) == (0, ""), ran
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


GOES = "{} will be dispatched: the next dispatch claims it."


def kinds(found: dict[str, Any]) -> list[str]:
    return [one["kind"] for one in found["life"]]


def failing(found: dict[str, Any]) -> list[str]:
    (rule,) = found["rules"]
    return [one["name"] for one in rule["conditions"] if not one["satisfied"]]


def verdict(found: dict[str, Any]) -> str:
    return str(found["rules"][0]["verdict"])


def test_a_bead_that_goes_and_then_goes(watch: Watch) -> None:
    bead = watch.assigned("goes")
    found = why(watch, bead)
    assert (found["phase"], failing(found), found["rules"][0]["to_go"]) == ("waiting", [], [])
    assert verdict(found) == GOES.format(bead)
    assert found["verdict"] == verdict(found) and found["title"] == "goes"
    assert kinds(found)[0] == "matched"
    assert watch.sent() == []
    assert watch.command("dispatch", *NO_SETTLE).code == 0
    found = why(watch, bead)
    assert (found["phase"], watch.sent()) == ("running", [bead])
    assert kinds(found)[-2:] == ["claim", "dispatched"]
    claim = next(one for one in found["life"] if one["kind"] == "claim")
    assert (claim["ours"], claim["before"]["status"], claim["after"]["status"]) == (
        True,
        "open",
        "in_progress",
    )
    assert claim["note"].startswith("auto-dispatcher claimed at ")
    assert "is running since" in verdict(found)
    assert [one["outcome"] for one in found["attempts"]] == ["running"]


def busy(watch: Watch, bead: str) -> None:
    watch.board.busy = True


def paused(watch: Watch, bead: str) -> None:
    assert watch.command("pause", "--reason", "lunch").code == 0


def another_runs(watch: Watch, bead: str) -> None:
    watch.assigned("goes first", "-p", "0")
    assert watch.command("dispatch", *NO_SETTLE).code == 0


def another_is_before_it(watch: Watch, bead: str) -> None:
    watch.assigned("goes first", "-p", "0")


def blocked(watch: Watch, bead: str) -> None:
    watch.bd.run("dep", "add", bead, watch.bd.create("the blocker"))


def deferred(watch: Watch, bead: str) -> None:
    watch.committed(f"UPDATE issues SET defer_until = '2099-01-01' WHERE id = '{bead}'")


def closed(watch: Watch, bead: str) -> None:
    watch.bd.close(bead)


def reassigned(watch: Watch, bead: str) -> None:
    watch.bd.run("assign", bead, "ann")


def tried(watch: Watch, status: int, error: str) -> None:
    watch.board.answer_next(status, {"error": error})
    watch.command("dispatch", *NO_SETTLE)


def failed(watch: Watch, bead: str) -> None:
    tried(watch, 400, f"Bead {bead} not found.")


def quarantined(watch: Watch, bead: str) -> None:
    tried(watch, 400, f"Bead {bead} is missing acceptance criteria.")


def refused(watch: Watch, bead: str) -> None:
    tried(watch, 401, "no")


def brought_from_elsewhere(watch: Watch, bead: str) -> None:
    """Create a ledger with attempts, but new local tables, as in a copied database."""
    other = watch.assigned("goes first", "-p", "0")
    watch.command("dispatch", *NO_SETTLE)
    watch.bd.close(other)
    watch.server.sql(*(f"DROP TABLE {table}" for table in LOCAL), database=watch.bd.database)
    assert watch.command("init").code == 0


@pytest.mark.parametrize(
    ("hinder", "names", "said"),
    [
        (busy, ["capacity"], "wait until the target has a free slot (beadboard: "),
        (paused, ["paused"], "run `dolt_watch resume` (paused by "),
        (another_runs, ["max_in_flight"], "wait until a bead in flight ends (1 of 1 in flight: "),
        (
            another_is_before_it,
            ["place"],
            "wait until the beads before it are dispatched (place 2 of 2 in the queue; ",
        ),
        (blocked, ["ready"], "(open)"),
        (deferred, ["ready"], "deferred until 2099-01-01T00:00:00Z"),
        (failed, ["backoff"], "(attempt 1 failed (HTTP 400: "),
        (quarantined, ["quarantined"], "or edit the bead (HTTP 400: "),
        (refused, ["stopped"], "correct the target's credential, then run `dolt_watch resume`"),
        (
            brought_from_elsewhere,
            ["held"],
            "or `dolt_watch resume` for all held beads (the ledger came from another place",
        ),
        (
            closed,
            ["status = 'open'"],
            "change the bead so that status = 'open' (status is 'closed')",
        ),
        (
            reassigned,
            ["assignee = 'agent'"],
            "change the bead so that assignee = 'agent' (assignee is 'ann')",
        ),
    ],
)
def test_each_thing_that_may_stand_between(
    watch: Watch, hinder: Callable[[Watch, str], None], names: list[str], said: str
) -> None:
    bead = watch.assigned("does not go")
    hinder(watch, bead)
    found = why(watch, bead)
    assert failing(found) == names, found["rules"]
    assert any(said in line for line in found["rules"][0]["to_go"]), found["rules"][0]["to_go"]
    assert found["verdict"].startswith((f"{bead} will not be ", f"{bead} is not dispatched yet: "))
    before = watch.sent()
    watch.command("dispatch", *NO_SETTLE)
    assert bead not in watch.sent()[len(before) :]  # The verdict was correct.


def test_that_still_settles(watch: Watch) -> None:
    found = why(watch, watch.assigned("just now"), "--set", "settle=1h")
    assert failing(found) == ["settle"]


def test_while_a_merge_stands_unfinished(watch: Watch) -> None:
    """A tick decides nothing during a merge."""
    bead = watch.assigned("waits for the merge")
    title, commit = (
        f"UPDATE issues SET title = '{{}}' WHERE id = '{bead}'",
        "CALL DOLT_COMMIT('-Am', 'by hand', '--allow-empty')",
    )
    with watch.server.connect(watch.bd.database) as connection, connection.cursor() as cursor:
        for text in (
            "SET @@dolt_allow_commit_conflicts = 1",
            commit,
            "CALL DOLT_BRANCH('side')",
            title.format("a"),
            commit,
            "CALL DOLT_CHECKOUT('side')",
            title.format("b"),
            commit,
            "CALL DOLT_CHECKOUT('main')",
            "CALL DOLT_MERGE('side')",
        ):
            cursor.execute(text)
            cursor.fetchall()
        found = why(watch, bead)
        assert "merge" in failing(found)
        assert verdict(found) == f"{bead} is not dispatched yet: a merge is not finished."
        cursor.execute("CALL DOLT_MERGE('--abort')")
    assert verdict(why(watch, bead)) == GOES.format(bead)


def test_an_uncommitted_change_that_takes_it_out(watch: Watch) -> None:
    bead = watch.assigned("taken back, not yet committed")
    watch.sql("UPDATE issues SET assignee = 'ann' WHERE id = %s", bead)
    found = why(watch, bead)
    # In bd 1.3, a second note says that no commit contains bd's events.
    assert (failing(found), found["notes"][:1]) == (
        ["uncommitted"],
        ["issues has an uncommitted change of this bead: modified"],
    )


def test_of_which_nobody_knows_whether_it_runs(watch: Watch) -> None:
    bead = watch.assigned("lost on the way")
    tried(watch, 502, "fetch failed")
    found = why(watch, bead)
    assert (found["phase"], kinds(found)[-1]) == ("unknown", "unknown")
    assert "the outcome of its request is unknown" in verdict(found)


def test_without_its_target(watch: Watch) -> None:
    """A target that can't be opened is an unmet condition, not an error.

    The user of ``why`` may lack the settings of the target.
    """
    found = why(watch, watch.assigned("waits"), env={"BEADBOARD_URL": ""})
    assert failing(found) == ["capacity"]


def test_in_words(watch: Watch) -> None:
    bead = watch.assigned("told")
    watch.bd.run("comment", bead, "soon, please")
    watch.bd.run("assign", bead, "ann")
    ran = watch.command("why", bead)
    assert ran.code == 0
    for said in (
        f"{bead} will not be dispatched: assignee is 'ann'.",
        "- change the bead so that assignee = 'agent' (assignee is 'ann')",
        "not tracked: neither waiting nor running",
        "✗ assignee = 'agent' assignee is 'ann'",
        "✓ status = 'open' status is 'open'",
        "history begins; the bead did not exist yet",
        "comment: 'soon, please'",
        "assignee agent → ann",
    ):
        assert said in " ".join(ran.stdout.split()), ran.stdout
    lines = ran.stdout.splitlines()
    assert lines[2].startswith(f"{bead} will not be dispatched: "), "the verdict is first"
    assert "max_in_flight" not in ran.stdout, "the slots of a rule that it does not match"
    assert "max_in_flight" in watch.command("why", bead, "--all").stdout


def test_a_deleted_bead_and_one_that_never_was(watch: Watch) -> None:
    bead = watch.bd.create("short life")
    watch.bd.run("delete", bead, "--force")
    found = why(watch, bead)
    assert (kinds(found)[0], kinds(found)[-1], found["phase"], failing(found)) == (
        "edited",
        "left",
        None,
        ["exists"],
    )
    stays = watch.assigned("stays")
    ran = watch.command("why", f"{stays}x")
    assert (ran.code, ran.stdout) == (2, "")
    assert f"did you mean {stays}" in ran.stderr


def test_any_moment_of_the_past(watch: Watch) -> None:
    """The state at each commit equals the state that the loop saved there."""
    bead = watch.assigned("looked back at")
    seen = {}
    for act in (lambda: watch.dispatch(), lambda: watch.reap(timedelta(minutes=40))):
        act()
        seen[watch.head()] = (
            watch.record(bead)
            if watch.sql("SELECT 1 FROM watch_bead WHERE bead_id = %s AND record <> ''", bead)
            else None
        )
    watch.bd.run("update", bead, "--status", "open")
    for commit, record in seen.items():
        found = why(watch, bead, "--as-of", commit)
        assert found["state"] == record
        assert found["commit"] == commit
        assert any("uncommitted" in note for note in found["notes"])
    claim = next(one for one in why(watch, bead)["life"] if one["kind"] == "claim")
    at_claim = why(watch, bead, "--as-of", claim["commit"])
    assert (at_claim["phase"], kinds(at_claim)[-1]) == ("claimed", "claim")
    before = why(watch, bead, "--as-of", claim["decision"]["observed"])
    assert (before["phase"], kinds(before)[0], "claim" in kinds(before)) == (
        "waiting",
        "matched",
        False,
    )


def test_a_moment_that_was_flattened(watch: Watch) -> None:
    bead = watch.assigned("flattened")
    gone = watch.head()
    watch.dispatch()
    watch.bd.run("flatten", "--force")
    ran = watch.command("why", bead, "--as-of", gone)
    assert ran.code == 2
    assert f"History contains no commit {gone} any more. It begins at " in ran.stderr
    ran = watch.command("why", bead, "--as-of", "2020-01-01T00:00:00Z")
    assert (ran.code, "It begins at" in ran.stderr) == (2, True)
    found = why(watch, bead)
    assert (found["phase"], len({one["commit"] for one in found["life"]})) == ("running", 1)


def test_in_a_database_that_was_never_initialised(
    beads_workspace: Workspace, dolt_server: Server
) -> None:
    with BeadBoardStub() as board:
        env = {**beads_workspace.env, "BEADBOARD_URL": board.url}
        engine = open_engine(beads_workspace.address)
        watch = Watch(
            beads_workspace, board, dolt_server, env, load({}, env, beads_workspace.path), engine
        )
        bead = watch.assigned("not watched")
        found = why(watch, bead)
        assert (found["phase"], failing(found), kinds(found)[0]) == ("waiting", [], "matched")
        assert any("No decision was ever made" in note for note in found["notes"])
        engine.close()


@contextmanager
def reader(watch: Watch) -> Iterator[dict[str, str]]:
    """Yield the environment of a user with only the SELECT privilege."""
    user = f"r_{watch.bd.database[-8:]}"
    watch.server.sql(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'",
        f"GRANT SELECT ON `{watch.bd.database}`.* TO '{user}'@'%'",
    )
    yield {
        "BEADS_DOLT_SERVER_USER": user,
        "BEADS_DOLT_PASSWORD": "secret",
        "DOLT_WATCH_PASSWORD": "secret",
    }
    watch.server.sql(f"DROP USER '{user}'@'%'")


def test_as_a_user_who_may_only_read_and_without_the_local_tables(watch: Watch) -> None:
    """``why`` works on a read replica, which has history but no local tables."""
    bead = watch.assigned("read elsewhere")
    watch.dispatch()
    here = why(watch, bead)
    with reader(watch) as env:
        assert why(watch, bead, env=env)["state"] == here["state"]
        watch.server.sql(*(f"DROP TABLE {table}" for table in LOCAL), database=watch.bd.database)
        there = why(watch, bead, env=env)
        assert (there["state"], there["phase"], kinds(there)) == (
            here["state"],
            "running",
            kinds(here),
        )


def test_on_another_branch(watch: Watch) -> None:
    bead = watch.bd.create("lives on the side")
    watch.server.sql(
        "CALL DOLT_COMMIT('-Am', 'rest', '--allow-empty')",
        "CALL DOLT_BRANCH('feature/side')",
        database=watch.bd.database,
    )
    watch.server.sql(
        f"UPDATE issues SET title = 'on the side' WHERE id = '{bead}'",
        "CALL DOLT_COMMIT('-am', 'side')",
        database=f"{watch.bd.database}/feature/side",
    )
    there, here = why(watch, bead, *watch.on_branch("feature/side")), why(watch, bead)
    assert len(there["life"]) == len(here["life"]) + 1
    assert there["life"][-1]["after"]["title"] == "on the side"
    ran: Ran = watch.command("why", bead, *watch.on_branch("feature/sid"))
    assert (ran.code, ".dolt_branches" in ran.stderr) == (3, True)


def test_on_doltlite(watch: Watch, doltlite_path: FileAddress) -> None:
    engine = open_engine(doltlite_path, create=True)
    beads.create_beads(engine)
    committed(engine, rows_of(["bd-1"]))
    committed(engine, "UPDATE issues SET priority = 0, notes = 'first' WHERE id = 'bd-1'")
    engine.close()
    address = ("--database", doltlite_path.url)
    found = why(watch, "bd-1", *address)
    assert (kinds(found), found["phase"]) == (["matched", "edited"], "waiting")
    assert any("No decision was ever made" in note for note in found["notes"])
    assert watch.command("init", *address).code == 0
    found = why(watch, "bd-1", *address)
    assert (found["phase"], verdict(found)) == ("waiting", GOES.format("bd-1"))
    assert watch.command("dispatch", *address, *NO_SETTLE).code in (0, 1)
    assert "claim" in kinds(why(watch, "bd-1", *address))


def test_under_several_rules(watch: Watch) -> None:
    """A bead in no phase is shown under each rule, and any other bead under its own rule."""
    rules = (
        "[rules.urgent]\nwhen = \"assignee = 'agent' AND priority = 0 AND status ="
        " 'open'\"\n\n[rules.rest]\nwhen = \"assignee = 'agent' AND status = 'open'\"\n"
    )
    (watch.bd.path / "dolt_watch.toml").write_text(rules, encoding="utf-8")
    bead = watch.bd.create("nobody's")
    found = why(watch, bead)
    assert [one["rule"] for one in found["rules"]] == ["urgent", "rest"]
    assert [
        [c["name"] for c in one["conditions"] if not c["satisfied"]] for one in found["rules"]
    ] == [
        ["assignee = 'agent'", "priority = 0"],
        ["assignee = 'agent'"],
    ]
    assert found["verdict"] == f"{bead} will not be dispatched: it matches no rule."
    watch.bd.run("assign", bead, "agent")
    found = why(watch, bead)
    assert ([one["rule"] for one in found["rules"]], verdict(found)) == (
        ["rest"],
        GOES.format(bead),
    )


def test_the_past_is_told_by_the_rules_that_stood_then(watch: Watch) -> None:
    bead = watch.assigned("under two rules")
    assert watch.command("dispatch", *NO_SETTLE).code == 0
    then = watch.head()
    watch.bd.close(bead)
    other = ("--set", "rules.agent.when=assignee = 'bot' AND status = 'open'")
    assert watch.command("tick", *NO_SETTLE, *other).code == 0
    now, past = why(watch, bead, *other), why(watch, bead, "--as-of", then, *other)
    assert [one["name"] for one in now["rules"][0]["conditions"][:2]] == [
        "assignee = 'bot'",
        "status = 'open'",
    ]
    assert (past["phase"], past["rules"][0]["conditions"][2]["name"]) == (
        "running",
        "acceptance_criteria <> ''",
    )
