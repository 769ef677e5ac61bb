"""``doctor`` finds what is wrong, says what mends it, and what it says mends it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dolt_watch.cli import doctor as cli
from dolt_watch.cli import wiring
from dolt_watch.core.policy import Policy
from dolt_watch.doctor import Case, Finding, Level, server
from dolt_watch.engines.address import Address, DoltLitePath, open_engine
from dolt_watch.settings import Settings
from tests import beads
from tests.acceptance.conftest import Watch
from tests.beads import ROOT
from tests.stubs.beadboard import BeadBoardStub, dead_url

OK = ("ok", "", None)


class Told(NamedTuple):
    level: str
    says: str
    fix: str | None


class Examined(NamedTuple):
    code: int
    checks: list[tuple[str, Told]]

    def of(self, name: str) -> list[Told]:
        return [told for check, told in self.checks if check == name]

    def worst(self, name: str) -> Told:
        return max(self.of(name), key=lambda told: ("ok", "warning", "failure").index(told.level))

    @property
    def troubled(self) -> set[str]:
        return {check for check, told in self.checks if told.level != "ok"}


def doctor(watch: Watch, *arguments: str, env: Mapping[str, str] | None = None) -> Examined:
    ran = watch.command("doctor", "--format", "json", *arguments, env=env)
    assert ran.stderr == "", ran
    tree = json.loads(ran.stdout)
    assert tree["exit_code"] == ran.code
    for check in tree["checks"]:
        assert bool(check["fix"]) == (check["level"] != "ok"), check
    return Examined(ran.code, [(c["check"], Told(c["level"], c["says"], c["fix"])) for c in tree["checks"]])


def mend(watch: Watch, told: Told) -> None:
    """Run the SQL of a fix, as the administrator."""
    assert told.fix is not None
    statements = re.sub(r"^as an administrator: |   \(.*\)$", "", told.fix)
    watch.server.sql(*(each for each in statements.split(";") if each.strip()), database=watch.bd.database)


def test_all_is_well_and_nothing_is_written_or_sent(watch: Watch) -> None:
    first = watch.assigned("runs")
    watch.tick(timedelta(seconds=5))
    watch.assigned("waits")
    before = watch.sql("SELECT HASHOF('HEAD'), DOLT_HASHOF_DB()")
    found = doctor(watch)
    assert (found.code, found.troubled) == (0, set()), found
    assert watch.sql("SELECT HASHOF('HEAD'), DOLT_HASHOF_DB()") == before
    assert watch.sent() == [first]
    documented = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in found.checks] == documented
    assert re.search(r"answers in \d+\.\d ms", found.worst("connection").says)
    assert "1 waiting" in found.worst("beads").says
    assert "1 running" in found.worst("beads").says
    assert "(1 beads, " in found.worst("saved").says, "the second is not saved yet"


def test_as_text_with_colours_on_a_terminal_only(watch: Watch) -> None:
    watch.command("pause", "--reason", "lunch")

    def on_a_terminal(**more: str) -> str:
        ours, theirs = pty.openpty()
        child = subprocess.Popen(
            [sys.executable, "-m", "dolt_watch", "doctor"], cwd=watch.bd.path, env={**watch.env, **more},
            stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        text = b""
        try:
            while more_text := os.read(ours, 65536):
                text += more_text
        except OSError:  # Linux says so when the last writer has closed it
            pass
        assert child.wait(60) == 0
        os.close(ours)
        return text.decode().replace("\r\n", "\n")

    plain = watch.command("doctor").stdout
    lines = plain.splitlines()
    (number,) = (n for n, line in enumerate(lines) if line.startswith("warning"))
    assert re.fullmatch(r"warning  switches     all rules paused for \d+s: lunch", lines[number])
    assert lines[number + 1] == " " * 22 + "fix: dolt_watch resume"
    assert {line[:22].split()[0] for line in lines if line[0] != " "} == {"ok", "warning"}
    assert "\x1b" not in plain
    assert "\x1b[33mwarning" in on_a_terminal()
    assert "\x1b" not in on_a_terminal(NO_COLOR="1")


# -- what is not usable ends with the exit code of every command, and as many lines as can be known before ---------------------


def test_settings_that_cannot_be_read(watch: Watch) -> None:
    found = doctor(watch, "--set", "settle=2x")
    assert (found.code, [name for name, _ in found.checks]) == (2, ["settings"])
    assert "--set settle" in found.worst("settings").says


def test_a_server_that_is_not_there(watch: Watch) -> None:
    found = doctor(watch, "--database", "dolt://root@no-such-host.invalid:3306/beads")
    assert (found.code, found.troubled, found.worst("target").level) == (3, {"connection"}, "ok")


def test_a_database_that_is_not_migrated_or_too_new(watch: Watch) -> None:
    watch.server.sql("INSERT INTO watch_migration VALUES (99, 'future', '9.9.9', NOW())", database=watch.bd.database)
    found = doctor(watch)
    assert (found.code, found.troubled) == (3, {"schema"})
    assert "upgrade" in (found.worst("schema").fix or "")
    for table in ("watch_cursor", "watch_bead", "watch_attempt", "watch_decision", "watch_settings", "watch_migration"):
        watch.server.sql(f"DROP TABLE {table}", database=watch.bd.database)
    found = doctor(watch)
    assert (found.code, found.troubled) == (3, {"schema"})
    assert found.worst("schema").fix == "dolt_watch init"
    assert found.worst("rules").level == "ok", "as many lines as can be known"


def test_another_project(watch: Watch) -> None:
    path = watch.bd.path / ".beads" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "project_id": "0000-of-another"}))
    found = doctor(watch)
    assert (found.code, found.troubled) == (2, {"project"})


def test_no_beads_database(watch: Watch) -> None:
    address = watch.server.fresh()
    found = doctor(watch, "--database", address.url)
    watch.server.drop(address)
    assert (found.code, found.troubled) == (3, {"schema"})


# -- the server ------------------------------------------------------------------------------------------------------------------


def test_a_privilege_that_is_missing(watch: Watch) -> None:
    user = f"p_{watch.bd.database[-8:]}"
    grants = watch.command("init", "--print-grants", user).stdout.splitlines()
    left_out = [line for line in grants if "`events`" in line or "dolt_commit" in line]
    kept = [line.replace("INSERT, UPDATE, DELETE ON", "INSERT, UPDATE ON") for line in grants if line not in left_out]
    watch.server.sql(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'", *kept)
    env = {"BEADS_DOLT_SERVER_USER": user, "BEADS_DOLT_PASSWORD": "pw"}
    try:
        told = doctor(watch, env=env).worst("privileges")
        assert told.level == "failure"
        lacks = ["INSERT on events", *(f"DELETE on {t}" for t in ("watch_cursor", "watch_bead", "watch_attempt"))]
        assert told.says == f"{user}@% lacks {', '.join(lacks)}, EXECUTE on dolt_commit"
        assert (told.fix or "").count("GRANT") == 5
        mend(watch, told)
        found = doctor(watch, env=env)
        assert (found.code, found.worst("privileges").says) == (0, "all that is needed")
    finally:
        watch.server.sql(f"DROP USER '{user}'@'%'")


def case(watch: Watch, *, settings: Settings | None = None, machine: Callable[[], datetime] | None = None) -> Case:
    return Case(
        settings or watch.settings, watch.engine, Policy(watch.settings.rules, watch.settings.settle), {}, lambda: pytest.fail(),
        machine or cli._machine,
    )  # fmt: skip


@pytest.mark.parametrize(("minutes", "way"), [(3, "behind"), (-3, "ahead of")])
def test_clocks_that_differ(watch: Watch, minutes: int, way: str) -> None:
    wrong = case(watch, machine=lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    (told,) = server.clock(wrong)
    assert told.level is Level.WARNING
    assert f"{way} this machine's" in told.says


def test_rows_of_the_future(watch: Watch) -> None:
    bead = watch.assigned("from tomorrow")
    watch.committed(
        f"INSERT INTO comments (id, issue_id, author, text, created_at) VALUES (UUID(), '{bead}', 'x', 'y', NOW() + INTERVAL 1 DAY)"
    )
    told = doctor(watch).worst("clock")
    assert told.level == "warning"
    assert "comments" in told.says
    assert bead in told.says


def test_plain_text_to_another_machine_is_a_warning(watch: Watch) -> None:
    address = watch.settings.address
    assert isinstance(address, Address)

    def told(**more: Any) -> Finding:
        (found,) = server.tls(case(watch, settings=replace(watch.settings, address=replace(address, **more))))
        return found

    assert told().level is Level.OK
    assert told(host="db.example", tls=False).level is Level.WARNING
    assert "verified by" in told(host="db.example").says


@pytest.mark.parametrize(
    ("tried", "level"),
    [(("0.9.0", "99.0.0"), "ok"), (("0.1.0", "0.9.9"), "warning"), (("99.1.0", "100.0.0"), "warning")],
)
def test_a_version_that_was_not_tried(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, tried: tuple[str, str], level: str
) -> None:
    monkeypatch.setitem(server.TRIED, "dolt", tried)
    (told,) = server.version(case(watch))
    assert told.level == level


# -- the database ----------------------------------------------------------------------------------------------------------------


def test_a_cursor_in_history(watch: Watch) -> None:
    """Both ways in which it comes about; and the mend leaves the rows where they are."""
    watch.tick()
    rows = watch.sql("SELECT * FROM watch_cursor")
    watch.server.sql("DELETE FROM dolt_ignore WHERE pattern = 'watch_cursor'", database=watch.bd.database)
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


# -- the rules -------------------------------------------------------------------------------------------------------------------


def test_rules_that_do_not_compile_or_have_no_index(watch: Watch) -> None:
    found = doctor(watch, "--set", "rules.agent.when=assigne = 'agent'")
    assert (found.code, found.worst("rules").level) == (2, "failure")
    assert "assignee" in (found.worst("rules").fix or "")
    without = "rules.agent.when=created_by = 'x' AND (status = 'open' OR notes <> '') AND priority <> 3 AND LOWER(assignee) = 'x'"
    found = doctor(watch, "--set", without)
    assert (found.code, found.worst("rules").level) == (0, "warning")
    mend(watch, found.worst("rules"))
    assert doctor(watch, "--set", without).worst("rules").level == "ok"


# -- history ---------------------------------------------------------------------------------------------------------------------


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
        "CALL DOLT_COMMIT('-Am', 'rest', '--allow-empty')", "CALL DOLT_CHECKOUT('-b', 'side')",
        "CALL DOLT_COMMIT('--allow-empty', '-m', 'side')", "CALL DOLT_CHECKOUT('main')",
        "CALL DOLT_COMMIT('--allow-empty', '-m', 'main')", "CALL DOLT_MERGE('side', '--no-commit')",
        database=watch.bd.database,
    )  # fmt: skip
    found = doctor(watch)
    assert (found.code, found.worst("merge").level) == (1, "failure")


def test_uncommitted_rows(watch: Watch) -> None:
    bead = watch.bd.create("somebody else's")
    watch.tick()
    watch.sql("UPDATE issues SET title = 'new' WHERE id = %s", bead)
    assert doctor(watch).worst("uncommitted") == ("ok", "issues since just now: the next tick commits it", None)
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
    assert (found.code, found.worst("recorded").level, found.worst("uncommitted").level) == (1, "failure", "warning")
    watch.committed("DELETE FROM watch_settings")
    assert "not in history" in doctor(watch).worst("recorded").says


def test_written_by_a_newer_program(watch: Watch) -> None:
    watch.command("pause", "--reason", "x")
    watch.committed("""UPDATE watch_decision SET detail = REPLACE(detail, '"program":"', '"program":"99.10.1+')""")
    told = doctor(watch).worst("program")
    assert told.level == "warning"
    assert "99.10.1" in (told.fix or "")


def test_two_hosts_by_turns(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(host: str) -> None:
        monkeypatch.setattr(wiring.socket, "gethostname", lambda: host)
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


# -- the work --------------------------------------------------------------------------------------------------------------------


def test_a_target_that_is_down_or_nobody(watch: Watch) -> None:
    found = doctor(watch, env={"BEADBOARD_URL": dead_url()})
    assert (found.code, found.troubled) == (1, {"target"})
    assert "refused" in found.worst("target").says
    found = doctor(watch, env={"BEADBOARD_URL": ""})
    assert (found.code, found.troubled) == (2, {"target"})
    assert "BEADBOARD_URL" in (found.worst("target").fix or "")


def test_beads_that_wait_for_a_person(watch: Watch) -> None:
    watch.change(rules=tuple(replace(rule, max_in_flight=9, max_attempts=1) for rule in watch.settings.rules))
    unknown = watch.assigned("unknown")
    watch.board.answer_next(502, {"error": "fetch failed"})
    watch.dispatch(timedelta(seconds=5))
    refused = watch.assigned("refused")
    watch.board.answer_next(400, {"error": f"Bead {refused} is missing acceptance criteria."})
    watch.dispatch(timedelta(seconds=5))
    found = doctor(watch)
    assert found.code == 0
    said = [told.says for told in found.of("beads")]
    assert [says.split(",")[0] for says in said] == [f"unknown: {unknown}", f"quarantined: {refused}"]


def test_a_rule_that_stopped_and_a_pause(watch: Watch) -> None:
    watch.assigned("refused")
    watch.board.answer_next(401, {"error": "no"})
    watch.dispatch(timedelta(seconds=5))
    found = doctor(watch)
    assert (found.code, found.worst("switches").level) == (1, "failure")
    assert watch.command("resume", "--rule", "agent").code == 0
    assert doctor(watch).worst("switches").level == "ok"
    watch.command("pause", "--reason", "lunch", "--until", "2020-01-01T00:00:00Z")
    assert doctor(watch).worst("switches").level == "ok", "it is over"


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


# -- the saved state -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flattened", [False, True])
def test_a_saved_state_that_is_not_what_history_says(watch: Watch, flattened: bool) -> None:
    bead = watch.assigned("runs")
    watch.tick(timedelta(seconds=5))
    watch.bd.run("note", bead, "at work")
    watch.command("pause", "--reason", "x")
    if flattened:
        watch.bd.run("flatten", "--force")
    watch.tick(timedelta(seconds=6))
    assert re.match(r"the same as .* \(1 beads", doctor(watch).worst("saved").says)
    watch.sql("UPDATE watch_bead SET record = %s", json.dumps({**watch.record(bead), "job": "another"}))
    found = doctor(watch)
    assert (found.code, found.worst("saved").level) == (1, "failure")
    assert f"{bead}: job is 'another', and should be '" in found.worst("saved").says
    mend(watch, found.worst("saved"))
    watch.tick(timedelta(seconds=7))
    assert doctor(watch).worst("saved").level == "ok"
    watch.sql("DELETE FROM watch_bead")
    assert f"{bead} is not saved, and should be running" in doctor(watch).worst("saved").says


def test_other_rules_than_those_it_was_folded_by(watch: Watch) -> None:
    watch.tick()
    found = doctor(watch, "--set", "rules.agent.when=assignee = 'another'")
    assert (found.code, found.worst("saved").level) == (0, "warning")


def test_on_doltlite(doltlite_path: DoltLitePath, tmp_path: Path) -> None:
    engine = open_engine(doltlite_path, create=True)
    beads.create_beads(engine)
    engine.close()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "BEADBOARD_URL": board.url}
        command = [sys.executable, "-m", "dolt_watch", *arguments, "--database", doltlite_path.url]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)

    with BeadBoardStub() as board:
        assert run("init").returncode == 0
        assert run("tick").returncode == 0
        done = run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    troubled = [line for line in done.stdout.splitlines() if not line.startswith("ok ") and "fix:" not in line]
    assert [line for line in troubled if not line.startswith("warning  version")] == [], done.stdout
