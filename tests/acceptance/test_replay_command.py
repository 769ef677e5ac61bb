"""``replay`` with the real command line, on both engines.

The tests cover a read-only user, refused options, and JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.config.converters import duration_text
from dolt_watch.engines.address import FileAddress, ServerAddress
from tests.support import forked
from tests.support.history import Deeds, History
from tests.support.servers import Server
from tests.support.templates import fill

pytestmark = pytest.mark.covering(engines="module")

DEEDS: Deeds = {
    "10:01:00": lambda h: h.new("a"),
    "10:03:00": lambda h: h.new("b", priority=1),
    "10:09:30": lambda h: h.set("a", status="closed"),
    "10:20:00": lambda h: h.comment("b"),
    "10:35:30": lambda h: h.set("b", status="closed"),
}

ROWS = re.compile(r'<tr data-figure="(.*?)">(.*?)</tr>', re.DOTALL)


def replay(url: str, folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
    words = ("replay", "--database", url, *arguments)
    return forked.dolt_watch(words, cwd=folder, env={**keep, "HOME": str(folder), **env})


@pytest.fixture(params=["dolt", "doltlite"])
def history(request: pytest.FixtureRequest) -> Iterator[History]:
    name = {"dolt": "dolt_address", "doltlite": "doltlite_path"}[request.param]
    address: ServerAddress | FileAddress = request.getfixturevalue(name)
    made = History(address)
    with contextlib.closing(made.engine):
        fill(made.engine, "day of replay", lambda: made.at("10:00").play("10:40", DEEDS))
        yield made.at("10:40")


def test_beside_one_another(history: History, tmp_path: Path) -> None:
    before = history.head()
    ran = replay(
        history.address.url,
        tmp_path,
        "--set",
        "rules.agent.stale_after=9m",
        "--set",
        "rules.agent.max_in_flight=2",
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = [line.split() for line in ran.stdout.splitlines()]
    day = "2026-04-18T"
    assert not any(row[:2] == ["a", "dispatch"] for row in rows), "a is the same in both"
    then, now = f"{day}10:10:00Z", f"{day}10:04:00Z"
    assert ["b", "dispatch", then, then, now, "earlier", "by", "6m"] in rows
    assert ["dispatched", "2", "2", "2"] in rows and ["reaped", "0", "0", "1", "+1"] in rows
    # The comment is at 10:14 here, ten minutes after the dispatch, because it was recorded at
    # 10:20. Ten whole minutes of silence follow.
    assert ["b", "reap", "-", "-", f"{day}10:24:00Z", "only", "here:"] in [row[:7] for row in rows]
    assert "difference: 1 dispatched earlier, 1 only here reaped" in ran.stdout
    assert "no recorded run" not in ran.stdout, "every run was recorded"
    assert (history.head(), history.engine.dirty()) == (before, frozenset())


def test_no_difference_under_the_same_settings(history: History, tmp_path: Path) -> None:
    ran = replay(history.address.url, tmp_path, "--set", "settle=2s")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "difference: none" in ran.stdout


def test_the_page_has_the_same_figures(history: History, tmp_path: Path) -> None:
    """The report page contains the figures of the text and of the JSON output."""
    changed = ("--set", "rules.agent.stale_after=9m", "--set", "rules.agent.max_in_flight=2")
    ran = replay(history.address.url, tmp_path, *changed, "--report", "out.html")
    assert (ran.returncode, ran.stderr) == (0, "")
    page = (tmp_path / "out.html").read_text("utf-8")
    figures = {name: tuple(re.findall(r"<b>(.*?)</b>", row)) for name, row in ROWS.findall(page)}
    lines = ran.stdout.splitlines()
    head = next(place for place, line in enumerate(lines) if line.split()[:1] == ["RECORDED"])
    printed = [re.split(r" {2,}", line.strip()) for line in lines[head + 1 : lines.index("", head)]]
    assert figures == {name: tuple(row[:3]) for name, *row in printed}
    assert lines[-1] == "wrote out.html"
    again = replay(
        history.address.url, tmp_path, *changed, "--report", "again.html", "--format", "json"
    )
    assert (again.returncode, again.stderr) == (0, "wrote again.html\n")
    assert (tmp_path / "again.html").read_text("utf-8") == page
    told = json.loads(again.stdout)
    for place, telling in enumerate(("recorded", "unchanged", "what_if")):
        numbers = told[telling]["figures"]
        assert (figures["dispatched"][place], figures["reaped"][place]) == (
            str(numbers["dispatched"]),
            str(numbers["reaped"]),
        )
        for name in ("waiting", "running"):
            for part, key in (("median", "median_seconds"), ("95%", "p95_seconds")):
                assert (
                    duration_text(timedelta(seconds=round(numbers[name][key])))
                    == figures[f"{name}, {part}"][place]
                )
    assert (
        "rules.agent.stale_after" in page
        and "only here: no progress" in page
        and told["differences"]
    )
    on_stdout = replay(history.address.url, tmp_path, *changed, "--report", "-")
    assert (on_stdout.stdout, on_stdout.stderr) == (page, "wrote -\n")


@pytest.mark.parametrize("arguments", [("--report", "/nowhere/x.html"), ("--report", ".")])
def test_a_page_that_cannot_be_written(
    doltlite_path: FileAddress, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """``replay`` fails like ``report -o``, before it opens the database, which doesn't exist."""
    ran = replay(doltlite_path.url, tmp_path, *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"error: Can't write {arguments[1]}: "), ran.stderr
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--verify --from HEAD", "--from applies only to a what-if or --apply"),
        ("--verify --every 2m", "--every applies only to a what-if. Remove it or --verify."),
        ("--verify --run-time 5m", "--run-time applies only to a what-if. Remove it or --verify."),
        ("--verify --when true", "--when applies only to a what-if. Remove it or --verify."),
        ("--verify --rule agent", "--rule applies only to a what-if. Remove it or --verify."),
        ("--verify --report x.html", "--report applies only to a what-if. Remove it or --verify."),
        ("--verify --dry-run", "--dry-run requires --apply"),
        ("--verify --apply", "--apply and --verify exclude each other"),
        ("--apply --from HEAD --to HEAD", "--to applies only to a what-if or --verify"),
        (
            "--apply --from HEAD --every 2s",
            "--every applies only to a what-if. Remove it or --apply.",
        ),
        (
            "--apply --from HEAD --run-time 5m",
            "--run-time applies only to a what-if. Remove it or --apply.",
        ),
        ("--apply --from HEAD --format json", "--format applies only to a what-if or --verify"),
        (
            "--apply --from HEAD --report x.html",
            "--report applies only to a what-if. Remove it or --apply.",
        ),
        (
            "--apply --from HEAD --rule agent",
            "With --apply, --rule requires --when",
        ),
        ("--yes", "--yes requires --apply"),
        ("--report - --format json", "both write to standard output"),
    ],
)
def test_options_that_would_change_nothing_are_refused(
    tmp_path: Path, arguments: str, says: str
) -> None:
    """The options are refused before the database is opened, which doesn't exist."""
    ran = replay("doltlite:///nowhere/x.db", tmp_path, *arguments.split())
    assert (ran.returncode, ran.stdout) == (2, "")
    assert says in " ".join(ran.stderr.split()), ran.stderr
    assert not (tmp_path / "x.html").exists()


def test_json(history: History, tmp_path: Path) -> None:
    ran = replay(
        history.address.url,
        tmp_path,
        "--every",
        "2s",
        "--format",
        "json",
        "--from",
        "2026-04-18T09:59:59Z",
        "--to",
        "2026-04-18T10:20:00Z",
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    told: dict[str, Any] = json.loads(ran.stdout)
    assert set(told) == {
        "schema",
        "from",
        "to",
        "commits",
        "every_seconds",
        "rule",
        "settings",
        "cadence",
        "recorded",
        "unchanged",
        "what_if",
        "differences",
        "assumed_runs",
        "assumptions",
    }
    assert told["cadence"] == {"every_seconds": 120.0, "source": "assumed"}
    assert (told["schema"], told["every_seconds"], told["to"]["date"]) == (
        2,
        2.0,
        "2026-04-18T10:20:00Z".replace("Z", "+00:00"),
    )
    assert told["differences"][0] == {
        "what": "dispatched-earlier",
        "bead": "a",
        "rule": "agent",
        "recorded": "2026-04-18T10:02:00+00:00",
        "unchanged": "2026-04-18T10:02:00+00:00",
        "what_if": "2026-04-18T10:01:02+00:00",
        "seconds": -58.0,
        "why": "",
    }
    assert [(one["bead"], one["kind"]) for one in told["what_if"]["decisions"]] == [
        ("a", "claim"),
        ("a", "dispatched"),
        ("b", "claim"),
        ("b", "dispatched"),
    ]
    assert told["recorded"]["figures"]["waiting"] == {
        "count": 2,
        "median_seconds": 240.0,
        "p95_seconds": 420.0,
    }


def test_one_rule(history: History, tmp_path: Path) -> None:
    url = history.address.url
    (tmp_path / "dolt_watch.toml").write_text(
        "[rules.agent]\n[rules.other]\nwhen = \"assignee = 'x'\"\n"
    )
    ran = replay(url, tmp_path, "--rule", "other")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "dispatch " not in ran.stdout and "difference: none" in ran.stdout
    ran = replay(
        url,
        tmp_path,
        "--rule",
        "agent",
        "--when",
        "assignee = 'agent' AND status = 'open' AND priority = 1",
    )
    assert "1 dispatched earlier, 1 never dispatched" in ran.stdout
    to = ("--to", "2026-04-18T10:08:00Z")  # b waits at this time.
    waits = [
        "(b)" in replay(url, tmp_path, "--rule", name, *to).stdout for name in ("agent", "other")
    ]
    assert waits == [True, False]
    ran = replay(url, tmp_path, "--when", "status = 'open'")
    assert (ran.returncode, "--rule agent" in ran.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says", "mends"),
    [
        (("--from", "ffffffff"), "History contains no commit ffffffff", "Specify a commit's hash"),
        (("--to", "tomorrow?"), "is not a valid time", "2026-04-18T22:35:46Z"),
        (
            ("--from", "2026-04-18T10:30:00Z", "--to", "2026-04-18T10:10:00Z"),
            "is later than --to 2026-04-18T10:10:00Z",
            "ancestor of --to",
        ),
        (("--from", "1999-01-01"), "no commit before 1999-01-01", "or later"),
        (
            ("--set", "rules.agent.stale_aftr=15m"),
            "There is no [rules.agent] key",
            "Did you mean stale_after?",
        ),
        (
            ("--when", "priorty = 1"),
            "The table issues has no column priorty",
            "Did you mean priority?",
        ),
        (
            ("--when", "status = 'open' AND (SELECT 1)"),
            "Subqueries aren't allowed",
            "columns of issues",
        ),
        (("--rule", "agnt"), "There is no rule 'agnt'.", "Did you mean agent?"),
        (("--every", "0s"), "--every must be a duration of more than 0", "'30s'"),
        (("--every", "0"), "--every must be a duration", "Add a unit"),
        (("--run-time", "soon"), "--run-time must be a duration", "'30m'"),
    ],
)
def test_what_it_refuses(
    doltlite_path: FileAddress, tmp_path: Path, arguments: tuple[str, ...], says: str, mends: str
) -> None:
    history = History(doltlite_path)
    with contextlib.closing(history.engine):
        history.at("10:00").play("10:04", {"10:01": lambda h: h.new("a")})
    ran = replay(doltlite_path.url, tmp_path, *arguments)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert (
        ran.stderr.startswith("error: ")
        and "\n  where: " in ran.stderr
        and "\n  fix:   " in ran.stderr
    )
    assert says in ran.stderr and mends in ran.stderr, ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("arguments", [("replay",), ("replay", "--verify"), ("why", "bd-1")])
def test_a_database_that_is_not_of_beads(
    doltlite_path: FileAddress, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    history = History(doltlite_path)
    with contextlib.closing(history.engine) as engine, engine.transaction() as tx:
        for table in ("comments", "events", "labels", "dependencies", "issues"):
            tx.execute(f"DROP TABLE {table}")
        tx.commit()
    ran = forked.dolt_watch(
        (*arguments, "--database", doltlite_path.url), cwd=tmp_path, env={"HOME": str(tmp_path)}
    )
    assert (ran.returncode, "it is not a beads database" in ran.stderr) == (3, True), ran.stderr


def test_a_user_who_may_only_read(
    dolt_address: ServerAddress, dolt_server: Server, tmp_path: Path
) -> None:
    history = History(dolt_address)
    with contextlib.closing(history.engine):
        history.at("10:00").play("10:40", DEEDS)
    user = f"r_{dolt_address.database[-8:]}"
    dolt_server.sql(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'",
        f"GRANT SELECT ON `{dolt_address.database}`.* TO '{user}'@'%'",
    )
    url = f"dolt://{user}@{dolt_address.host}:{dolt_address.port}/{dolt_address.database}"
    try:
        ran = replay(
            url,
            tmp_path,
            "--every",
            "2s",
            "--set",
            "rules.agent.stale_after=14m",
            DOLT_WATCH_PASSWORD="pw",
        )
    finally:
        dolt_server.sql(f"DROP USER '{user}'@'%'")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "2 dispatched earlier" in ran.stdout


@pytest.mark.parametrize("migrated", [True, False])
def test_before_it_was_ever_there(beads_engine: Any, tmp_path: Path, migrated: bool) -> None:
    """The plan is shown without any decision, with and without the tables of dolt_watch."""
    from dolt_watch.cli.composition import identity
    from dolt_watch.config import load
    from dolt_watch.ledger.schema import migrate

    url = (
        beads_engine.address.url
        if beads_engine.name == "dolt"
        else f"doltlite:///{beads_engine.path}"
    )
    if migrated:
        list(migrate(beads_engine, identity(load({"database": url}, {}, tmp_path)).author))
    with beads_engine.transaction() as tx:
        tx.execute(
            "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes,"
            " assignee) VALUES ('a', 't', '', '', 'must', '', 'agent')"
        )
        tx.dolt_commit(["issues"], "a", "me <me@x>")
    ran = replay(url, tmp_path, "--every", "1s", "--set", "settle=0s", "--run-time", "5m")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "difference: " in ran.stdout
