"""``doctor`` finds faults in the database, and its fixes work."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dolt_watch.cli import composition
from dolt_watch.core.model import GLOBAL, Decision, EntryKind
from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from tests.acceptance.conftest import Watch
from tests.acceptance.doctoring import doctor, mend
from tests.stubs.beadboard import BeadBoardStub, dead_url
from tests.support import beads, forked

# -- the database --------------------


def test_a_cursor_in_history(watch: Watch) -> None:
    """Both causes of the fault are found, and the fix keeps the rows."""
    watch.tick()
    rows = watch.sql("SELECT * FROM watch_cursor")
    watch.server.sql(
        "DELETE FROM dolt_ignore WHERE pattern = 'watch_cursor'", database=watch.bd.database
    )
    told = doctor(watch).worst("local")
    assert (told.level, told.says.split(",")[0]) == ("failure", "not ignored: watch_cursor")
    watch.server.sql("CALL DOLT_COMMIT('-Am', 'all of it')", database=watch.bd.database)
    found = doctor(watch)
    assert (found.code, found.worst("local").says) == (1, "in history: watch_cursor")
    mend(watch, found.worst("local"))
    assert doctor(watch).worst("local").level == "ok"
    assert watch.sql("SELECT * FROM watch_cursor") == rows
    assert "watch_cursor" not in {row[0] for row in watch.sql("SELECT table_name FROM dolt_status")}


def test_a_table_not_ignored_is_mended_before_it_is_committed(watch: Watch) -> None:
    watch.server.sql("DELETE FROM dolt_ignore", database=watch.bd.database)
    mend(watch, doctor(watch).worst("local"))
    assert doctor(watch).worst("local").level == "ok"


def test_a_local_table_that_is_gone(watch: Watch) -> None:
    watch.server.sql("DROP TABLE watch_bead", database=watch.bd.database)
    found = doctor(watch)
    assert (found.code, found.troubled) == (3, {"local"})
    assert watch.command("init").code == 0
    assert doctor(watch).code == 0


# -- the rules --------------------


def test_rules_that_do_not_compile_or_have_no_index(watch: Watch) -> None:
    found = doctor(watch, "--set", "rules.agent.when=assigne = 'agent'")
    assert (found.code, found.worst("rules").level) == (2, "failure")
    assert "assignee" in (found.worst("rules").fix or "")
    without = (
        "rules.agent.when=created_by = 'x' AND (status = 'open' OR notes <> '') AND priority <> 3"
        " AND LOWER(assignee) = 'x'"
    )
    found = doctor(watch, "--set", without)
    assert (found.code, found.worst("rules").level) == (0, "warning")
    mend(watch, found.worst("rules"))
    assert doctor(watch, "--set", without).worst("rules").level == "ok"


# -- history --------------------


def test_history_rewritten(watch: Watch) -> None:
    watch.assigned("stays")
    watch.tick(timedelta(seconds=5))
    watch.bd.run("flatten", "--force")
    found = doctor(watch)
    assert (found.code, found.worst("cursor").level) == (0, "warning")
    watch.tick(timedelta(seconds=6))
    assert doctor(watch).troubled == set()


def test_a_merge_that_stands(watch: Watch) -> None:
    watch.server.sql(
        "CALL DOLT_COMMIT('-Am', 'rest', '--allow-empty')",
        "CALL DOLT_CHECKOUT('-b', 'side')",
        "CALL DOLT_COMMIT('--allow-empty', '-m', 'side')",
        "CALL DOLT_CHECKOUT('main')",
        "CALL DOLT_COMMIT('--allow-empty', '-m', 'main')",
        "CALL DOLT_MERGE('side', '--no-commit')",
        database=watch.bd.database,
    )
    found = doctor(watch)
    assert (found.code, found.worst("merge").level) == (1, "failure")


def test_uncommitted_rows(watch: Watch) -> None:
    bead = watch.bd.create("of another user")
    watch.tick()
    watch.sql("UPDATE issues SET title = 'new' WHERE id = %s", bead)
    assert doctor(watch).worst("uncommitted") == (
        "ok",
        "issues for less than a second: the next tick commits it",
        None,
    )
    told = doctor(watch, "--set", "adopt=false").worst("uncommitted")
    assert told.level == "warning"
    watch.change(adopt=False)
    watch.tick(timedelta(seconds=1))
    ((seen,),) = watch.sql("SELECT hashes FROM watch_cursor")
    watch.sql("UPDATE watch_cursor SET hashes = %s", re.sub(r'"20\d\d-', '"2020-', seen))
    told = doctor(watch).worst("uncommitted")
    assert told.level == "warning"
    assert re.search(r"issues for \d+d", told.says)


def test_a_ledger_changed_by_hand(watch: Watch) -> None:
    watch.command("pause", "--reason", "x")
    watch.sql("UPDATE watch_settings SET text = CONCAT(text, ' ')")
    found = doctor(watch)
    assert (found.code, found.worst("recorded").level, found.worst("uncommitted").level) == (
        1,
        "failure",
        "warning",
    )
    watch.committed("DELETE FROM watch_settings")
    assert "not in history" in doctor(watch).worst("recorded").says


def test_written_by_a_newer_program(watch: Watch) -> None:
    watch.command("pause", "--reason", "x")
    newer = """REPLACE(detail, '"program":"', '"program":"99.10.1+')"""
    watch.committed(f"UPDATE watch_decision SET detail = {newer}")
    told = doctor(watch).worst("program")
    assert told.level == "warning"
    assert "99.10.1" in (told.fix or "")


def test_two_hosts_by_turns(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(host: str) -> None:
        monkeypatch.setattr(composition.socket, "gethostname", lambda: host)
        watch.assigned(f"on {host}")
        watch.change(rules=tuple(replace(rule, max_in_flight=9) for rule in watch.settings.rules))
        assert watch.dispatch(timedelta(seconds=5))[0].dispatched == 1

    for host in ("pod-1", "pod-2", "pod-3"):
        decide(host)
    assert doctor(watch).worst("hosts").level == "ok", "CronJobs: each name once"
    decide("pod-1")
    told = doctor(watch).worst("hosts")
    assert told.level == "warning"
    assert "pod-1, pod-2, pod-3" in told.says


# -- the work --------------------


def test_a_target_whose_service_nobody_asks(watch: Watch) -> None:
    found = doctor(watch, env={"CLAUDE_AGENT_SERVICE_URL": ""})
    told = found.worst("target")
    assert (found.code, told.level) == (0, "warning")
    assert "service_url" in told.says and "CLAUDE_AGENT_SERVICE_URL" in (told.fix or "")


def test_an_outage(watch: Watch) -> None:
    watch.assigned("waits")
    watch.board.status_next(500)
    watch.dispatch(timedelta(seconds=5))
    told = doctor(watch).worst("switches")
    assert told.level == "warning" and told.says.startswith(
        "target beadboard has been unreachable since "
    )


def test_a_target_that_is_down_or_nobody(watch: Watch) -> None:
    found = doctor(watch, env={"BEADBOARD_URL": dead_url()})
    assert (found.code, found.troubled) == (1, {"target"})
    assert "refused" in found.worst("target").says
    found = doctor(watch, env={"BEADBOARD_URL": ""})
    assert (found.code, found.troubled) == (2, {"target"})
    assert "BEADBOARD_URL" in (found.worst("target").fix or "")


def test_an_api_server_that_is_away_is_one_finding_with_its_own_fix(watch: Watch) -> None:
    url = dead_url().replace("http://", "https://")
    text = (
        f'[rules.agent]\ntarget = "cluster"\n[targets.cluster]\nkind = "kubernetes"\n'
        f'image = "x"\nnamespace = "agents"\nserver = "{url}"\n'
    )
    (watch.bd.path / "dolt_watch.toml").write_text(text, "utf-8")
    [found] = doctor(watch).of("target")
    assert found.level == "failure" and found.says.startswith("cluster: connection refused")
    assert found.fix is not None and found.fix.startswith(
        f"Check that the API server answers at {url}"
    )


def test_beads_that_wait_for_a_person(watch: Watch) -> None:
    watch.change(
        rules=tuple(replace(rule, max_in_flight=9, max_attempts=1) for rule in watch.settings.rules)
    )
    unknown = watch.assigned("unknown")
    watch.board.answer_next(502, {"error": "Agent service returned HTTP 500."})
    watch.dispatch(timedelta(seconds=5))
    refused = watch.assigned("refused")
    watch.board.answer_next(400, {"error": f"Bead {refused} is missing acceptance criteria."})
    watch.dispatch(timedelta(seconds=5))
    found = doctor(watch)
    assert found.code == 0
    said = [told.says for told in found.of("beads")]
    assert [says.split(",")[0] for says in said] == [
        f"unknown: {unknown}",
        f"quarantined: {refused}",
    ]


def test_a_rule_that_stopped_and_a_pause(watch: Watch) -> None:
    watch.assigned("refused")
    watch.board.answer_next(401, {"error": "no"})
    watch.dispatch(timedelta(seconds=5))
    found = doctor(watch)
    assert (found.code, found.worst("switches").level) == (1, "failure")
    assert watch.command("resume", "--rule", "agent").code == 0
    assert doctor(watch).worst("switches").level == "ok"
    over = {"until": "2020-01-01T00:00:00+00:00", "reaping": False, "by": "ann"}
    composition.ledger(watch.engine, watch.settings).record(
        Decision(EntryKind.PAUSE, GLOBAL, "", 0, "", reason="lunch", detail=over)
    )
    assert doctor(watch).worst("switches").level == "ok", "it is over"
    composition.ledger(watch.engine, watch.settings).record(
        Decision(EntryKind.PAUSE, GLOBAL, "renamed", 0, "", reason="lunch")
    )
    assert "no such rule exists" in doctor(watch).worst("switches").says


def test_held_beads_of_a_copy(watch: Watch) -> None:
    watch.assigned("runs")
    watch.tick(timedelta(seconds=5))
    waits = watch.assigned("waits")
    for table in ("watch_cursor", "watch_bead", "watch_attempt"):
        watch.sql(f"DELETE FROM {table}")
    watch.command("init")
    watch.tick()
    told = doctor(watch).worst("beads")
    assert told.level == "warning"
    assert told.says.startswith(f"held: {waits}")


# -- the saved state --------------------


@pytest.mark.parametrize("flattened", [pytest.param(False, marks=pytest.mark.matrix), True])
def test_a_saved_state_that_is_not_what_history_says(watch: Watch, flattened: bool) -> None:
    bead = watch.assigned("runs")
    watch.tick(timedelta(seconds=5))
    watch.bd.run("note", bead, "at work")
    watch.command("pause", "--reason", "x")
    if flattened:
        watch.bd.run("flatten", "--force")
    watch.tick(timedelta(seconds=6))
    assert re.match(r"same as .* \(1 beads", doctor(watch).worst("saved").says)
    watch.sql(
        "UPDATE watch_bead SET record = %s", json.dumps({**watch.record(bead), "job": "another"})
    )
    found = doctor(watch)
    assert (found.code, found.worst("saved").level) == (1, "failure")
    assert f"{bead}: job is 'another', but must be '" in found.worst("saved").says
    mend(watch, found.worst("saved"))
    watch.tick(timedelta(seconds=7))
    assert doctor(watch).worst("saved").level == "ok"
    watch.sql("DELETE FROM watch_bead")
    assert f"{bead} is not saved, but must be running" in doctor(watch).worst("saved").says


def test_other_rules_than_those_it_was_folded_by(watch: Watch) -> None:
    watch.tick()
    found = doctor(watch, "--set", "rules.agent.when=assignee = 'another'")
    assert (found.code, found.worst("saved").level) == (0, "warning")


def test_on_doltlite(doltlite_path: FileAddress, tmp_path: Path) -> None:
    engine = open_engine(doltlite_path, create=True)
    beads.create_beads(engine)
    engine.close()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BEADBOARD_URL": board.url}
        return forked.dolt_watch(
            [*arguments, "--database", doltlite_path.url], cwd=tmp_path, env=env
        )

    with BeadBoardStub() as board:
        assert run("init").returncode == 0
        assert run("tick").returncode == 0
        done, quiet = run("doctor"), run("doctor", "--quiet").stdout
    troubled = [line for line in quiet.splitlines() if "fix:" not in line]
    assert (done.returncode, done.stderr) == (0, "")
    known = ("warning  version", "warning  target")  # No service URL is set, so ``target`` warns.
    assert [line for line in troubled if not line.startswith(known)] == [], done.stdout
