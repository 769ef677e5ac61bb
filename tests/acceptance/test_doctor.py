"""``doctor``: its output, its errors, and its checks of the server.

test_doctor_finds.py has the checks of the tracker.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from dolt_watch.cli import doctor as cli
from dolt_watch.config import Settings
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.engines.address import ServerAddress
from dolt_watch.inspection.doctor import server_checks
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import Finding, Level
from tests.acceptance.conftest import Watch
from tests.acceptance.doctoring import doctor, mend
from tests.support.beads import ROOT


def test_all_is_well_and_nothing_is_written_or_sent(watch: Watch) -> None:
    first = watch.assigned("runs")
    watch.tick(timedelta(seconds=5))
    watch.assigned("waits")
    before = watch.sql("SELECT HASHOF('HEAD'), DOLT_HASHOF_DB()")
    found = doctor(watch)
    assert (found.code, found.troubled) == (0, set()), found
    assert watch.sql("SELECT HASHOF('HEAD'), DOLT_HASHOF_DB()") == before
    assert watch.sent() == [first]
    documented = re.findall(
        r"^\| `(\w+)` \|", (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8"), re.MULTILINE
    )
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
            [sys.executable, "-m", "dolt_watch", "doctor"],
            cwd=watch.bd.path,
            env={**watch.env, **more},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        text = b""
        try:
            while more_text := os.read(ours, 65536):
                text += more_text
        except OSError:  # Linux raises it after the last writer has closed the terminal.
            pass
        assert child.wait(60) == 0
        os.close(ours)
        return text.decode().replace("\r\n", "\n")

    plain = watch.command("doctor").stdout
    lines = plain.splitlines()
    (number,) = (n for n, line in enumerate(lines) if line.startswith("warning  switches"))
    assert re.fullmatch(
        r"warning  switches     all rules paused for \d+s by (?!beads-)\S+: lunch", lines[number]
    )
    assert lines[number + 1] == " " * 22 + "fix: dolt_watch resume"
    *checks, blank, summary = lines
    levels = [line.split()[0] for line in checks if line and line[0] != " "]
    assert levels == sorted(levels, reverse=True) and {*levels} == {"ok", "warning"}
    warnings = levels.count("warning")
    assert (blank, summary) == ("", f"{levels.count('ok')} ok, {warnings} warnings, 0 failures")
    assert "\x1b" not in plain
    quiet = watch.command("doctor", "--quiet").stdout
    spans = partial(re.sub, r"for \d+s", "for …")
    assert list(map(spans, quiet.splitlines())) == list(map(spans, lines[: 2 * warnings]))
    assert "\x1b[33m! warning" in on_a_terminal()
    assert "\x1b" not in on_a_terminal(NO_COLOR="1")


# -- errors that end doctor after all possible checks --------------------


def test_settings_that_cannot_be_read(watch: Watch) -> None:
    found = doctor(watch, "--set", "settle=2x")
    assert (found.code, [name for name, _ in found.checks]) == (2, ["settings"])
    assert "--set settle" in found.worst("settings").says


def test_a_server_that_is_not_there(watch: Watch) -> None:
    found = doctor(watch, "--database", "dolt://root@no-such-host.invalid:3306/beads")
    assert (found.code, found.troubled, found.worst("target").level) == (3, {"connection"}, "ok")


def test_a_database_that_is_not_migrated_or_too_new(watch: Watch) -> None:
    watch.server.sql(
        "INSERT INTO watch_migration VALUES (99, 'future', '9.9.9', NOW())",
        database=watch.bd.database,
    )
    found = doctor(watch)
    assert (found.code, found.troubled) == (3, {"schema"})
    assert "Upgrade" in (found.worst("schema").fix or "")
    for table in (
        "watch_cursor",
        "watch_bead",
        "watch_attempt",
        "watch_decision",
        "watch_settings",
        "watch_migration",
    ):
        watch.server.sql(f"DROP TABLE {table}", database=watch.bd.database)
    found = doctor(watch)
    assert (found.code, found.troubled) == (3, {"schema"})
    assert (found.worst("schema").fix or "").startswith("Run `dolt_watch init`")
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


# -- the server --------------------


def test_a_privilege_that_is_missing(watch: Watch) -> None:
    user = f"p_{watch.bd.database[-8:]}"
    grants = watch.command("init", "--print-grants", user).stdout.splitlines()
    left_out = [line for line in grants if "`events`" in line or "dolt_commit" in line]
    kept = [
        line.replace("INSERT, UPDATE, DELETE ON", "INSERT, UPDATE ON")
        for line in grants
        if line not in left_out
    ]
    watch.server.sql(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'", *kept)
    env = {"BEADS_DOLT_SERVER_USER": user, "BEADS_DOLT_PASSWORD": "pw"}
    try:
        told = doctor(watch, env=env).worst("privileges")
        assert told.level == "failure"
        lacks = [
            "INSERT on events",
            *(f"DELETE on {t}" for t in ("watch_cursor", "watch_bead", "watch_attempt")),
        ]
        assert told.says == f"{user}@% lacks {', '.join(lacks)}, EXECUTE on dolt_commit"
        assert (told.fix or "").count("GRANT") == 5
        mend(watch, told)
        found = doctor(watch, env=env)
        assert (found.code, found.worst("privileges").says) == (0, "all required privileges")
    finally:
        watch.server.sql(f"DROP USER '{user}'@'%'")


def case(
    watch: Watch, *, settings: Settings | None = None, machine: Callable[[], datetime] | None = None
) -> DoctorContext:
    return DoctorContext(
        settings or watch.settings,
        watch.engine,
        Policy(watch.settings.rules, watch.settings.settle),
        {},
        lambda: pytest.fail(),
        machine or cli._machine,
    )


@pytest.mark.parametrize(("minutes", "way"), [(3, "behind"), (-3, "ahead of")])
def test_clocks_that_differ(watch: Watch, minutes: int, way: str) -> None:
    wrong = case(watch, machine=lambda: datetime.now(UTC) + timedelta(minutes=minutes))
    (told,) = server_checks.clock(wrong)
    assert told.level is Level.WARNING
    assert f"{way} this machine's" in told.says


def test_rows_of_the_future(watch: Watch) -> None:
    bead = watch.assigned("from tomorrow")
    watch.committed(
        f"INSERT INTO comments (id, issue_id, author, text, created_at) VALUES (UUID(), '{bead}',"
        " 'x', 'y', NOW() + INTERVAL 1 DAY)"
    )
    told = doctor(watch).worst("clock")
    assert told.level == "warning"
    assert "comments" in told.says
    assert bead in told.says


def test_plain_text_to_another_machine_is_a_warning(watch: Watch) -> None:
    address = watch.settings.address
    assert isinstance(address, ServerAddress)

    def told(**more: Any) -> Finding:
        (found,) = server_checks.tls(
            case(watch, settings=replace(watch.settings, address=replace(address, **more)))
        )
        return found

    assert told().level is Level.OK
    assert told(host="db.example", tls=False).level is Level.WARNING
    assert "verified by" in told(host="db.example").says


@pytest.mark.parametrize(
    ("tried", "level"),
    [
        (("0.9.0", "99.0.0"), "ok"),
        (("0.1.0", "0.9.9"), "warning"),
        (("99.1.0", "100.0.0"), "warning"),
    ],
)
def test_a_version_that_was_not_tried(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, tried: tuple[str, str], level: str
) -> None:
    monkeypatch.setitem(server_checks.TRIED, "dolt", tried)
    (told,) = server_checks.version(case(watch))
    assert told.level == level
