"""``report`` and ``status`` as commands, and the live page of ``run``, on a real tracker."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.acceptance.conftest import Watch
from tests.acceptance.test_run import running, wait_for
from tests.support.report_page import data_of, figures_of, rows_of
from tests.support.servers import as_in_a_terminal


@pytest.fixture
def busy(watch: Watch) -> Watch:
    """Return a watcher with one running, two waiting and one failed bead."""
    for title in ("Fails", "Runs", "Waits", "<script>alert(1)</script>"):
        watch.assigned(title)
    watch.board.answer_next(500, {"error": "boom"})
    watch.tick()
    watch.tick(timedelta(minutes=1))
    # The commands use the server's clock. By that clock, the beads are seconds old and would
    # settle.
    watch.env["DOLT_WATCH_SETTLE"] = "0s"
    return watch


def test_the_same_numbers_as_status_and_log(busy: Watch) -> None:
    done = busy.command("report", "-o", "report.html", "--since", "1h")
    assert (done.code, done.stderr) == (0, "")
    page = (busy.bd.path / "report.html").read_text(encoding="utf-8")
    status = json.loads(busy.command("status", "--format", "json").stdout)
    log = json.loads(busy.command("log", "--since", "1h", "--format", "json").stdout)["entries"]
    kinds = [entry["kind"] for entry in log]
    data = data_of(page)
    rows = rows_of(data)
    shown = {one.bead: (one.state, one.rule, one.why) for one in rows.values()}
    assert shown == {
        bead["bead"]: (bead["phase"], bead["rule"], bead["why"] or f"job {bead['job']}")
        for bead in status["beads"]
    }
    figures = figures_of(data, "1h")
    assert figures["dispatched"] == kinds.count("dispatched") > 0
    assert figures["failed"] == kinds.count("failed") > 0
    told = {(one.bead, one.state) for one in rows.values()}
    assert told == {(bead["bead"], bead["phase"]) for bead in status["beads"]}
    assert "<script>alert" not in page
    commits = {row[0] for row in busy.sql("SELECT commit_hash FROM dolt_log")}
    named = {interval[4] for row in data["rows"] for interval in row[11]}
    assert named and named <= commits


def test_the_conditions_of_the_file_are_those_of_why(busy: Watch) -> None:
    assert busy.command("report", "-o", "report.html").code == 0
    page = (busy.bd.path / "report.html").read_text(encoding="utf-8")
    views = json.loads(page.partition('id="views">')[2].partition("</script>")[0])
    beads = json.loads(busy.command("status", "--format", "json").stdout)["beads"]
    assert views.keys() == {bead["bead"] for bead in beads}
    for bead in views:
        why = json.loads(busy.command("why", bead, "--format", "json").stdout)["rules"][0]
        (rule,) = views[bead]["rules"]
        conditions = [(one["name"], one["satisfied"]) for one in why["conditions"]]
        assert [(name, good) for name, good, _ in rule["conditions"]] == conditions


def test_report_refuses(busy: Watch) -> None:
    for arguments in (
        ["-o", "x.html", "--since", "soon"],
        ["-o", "x.html", "--since", "99999999999h"],
        ["-o", "x.html", "--since", "2999-01-01T00:00:00Z"],
        [],
    ):
        done = busy.command("report", *arguments)
        assert done.code == 2, done
        assert not (busy.bd.path / "x.html").exists()
    assert busy.command("report", "-o", "/nowhere/x.html").code == 2


def test_run_serves_it_live(watch: Watch) -> None:
    with running(watch) as one:
        one.until("leading")
        bead = watch.assigned("seen live")
        one.until(f"dispatched {bead}")
        seen: list[str] = []

        def shown() -> bool:
            status, page = one.get("/")
            seen.append(page)
            return status == 200 and figures_of(data_of(page))["dispatched"] == 1

        wait_for(shown)
        row = rows_of(data_of(seen[-1]))[bead]
        assert (row.title, row.phases) == ("seen live", ["waiting", "claimed", "running"])
        status, why = one.get(f"/why.json?bead={bead}")
        assert (status, json.loads(why)["rules"][0]["rule"]) == (200, "agent")
        assert json.loads(why)["life"]
        assert one.get("/why.json?bead=nope")[0] == 404
        assert one.end() == 0


# -- status --------------------


class Terminal:
    """A command on a terminal of 80 columns."""

    def __init__(self, watch: Watch, *arguments: str, **env: str) -> None:
        self.master, slave = pty.openpty()
        command = (sys.executable, "-m", "dolt_watch", *arguments)
        self.process = subprocess.Popen(
            command,
            cwd=watch.bd.path,
            env={**watch.env, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", **env},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=as_in_a_terminal,
        )
        os.close(slave)
        self.text = ""

    def until(self, words: str, times: int = 1, seconds: float = 300) -> str:
        end = time.monotonic() + seconds
        while self.text.count(words) < times and self._more(end):
            pass
        assert self.text.count(words) >= times, self.text
        return self.text

    def end(self, seconds: float = 300) -> str:
        """Return the whole output of the command."""
        end = time.monotonic() + seconds
        while self._more(end):
            pass
        return self.text

    def _more(self, end: float) -> bool:
        if not select.select([self.master], [], [], max(0.0, end - time.monotonic()))[0]:
            return False
        try:
            self.text += os.read(self.master, 65536).decode()
        except OSError:  # EIO: the process has closed the terminal.
            return False
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(busy: Watch) -> Iterator[Any]:
    made: list[Terminal] = []

    def make(*arguments: str, **env: str) -> Terminal:
        made.append(Terminal(busy, *arguments, **env))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("columns", [80, 40])
def test_status_fits_a_terminal_and_a_pipe_gets_all(
    busy: Watch, terminal: Any, columns: int
) -> None:
    shown = terminal("status", COLUMNS=str(columns), TERM="dumb").end()
    assert "\x1b" not in shown and "QUEUE (" in shown
    assert max(map(len, shown.splitlines())) <= columns
    wide = busy.command("status").stdout
    assert "<script>alert(1)</script>" in wide and "\x1b" not in wide
    for bead in json.loads(busy.command("status", "--format", "json").stdout)["beads"]:
        assert bead["bead"] in shown and bead["title"] in wide


def test_status_is_colored_on_a_terminal_only_where_wanted(terminal: Any) -> None:
    colored, plain = terminal("status").end(), terminal("status", NO_COLOR="1").end()
    assert re.search("\x1b\\[3\\dm(▶ running|next)\x1b\\[0m", colored), colored
    assert "▶ running" in plain and "\x1b" not in plain


def test_status_watch_refreshes_in_place_until_ctrl_c(terminal: Any) -> None:
    one = terminal("status", "--watch")
    shown = one.until("\x1b[H", times=2)
    assert "waiting" in shown
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(300) == 0
    assert "Traceback" not in one.text and "Aborted" not in one.text


def test_status_watch_needs_a_terminal(busy: Watch, terminal: Any) -> None:
    done = busy.command("status", "--watch")
    assert (done.code, done.stdout) == (2, "")
    assert "--watch requires a terminal" in done.stderr
    assert terminal("status", "--watch", TERM="dumb").process.wait(300) == 2
    assert terminal("status", "--watch", "--format", "json").process.wait(300) == 2


def test_completion_is_printed(watch: Watch) -> None:
    printed = watch.command(env={"_DOLT_WATCH_COMPLETE": "bash_source"})
    assert (printed.code, "complete -o nosort -F" in printed.stdout) == (0, True)
    found = watch.command(
        env={
            "_DOLT_WATCH_COMPLETE": "bash_complete",
            "COMP_WORDS": "dolt_watch st",
            "COMP_CWORD": "1",
        }
    )
    assert found.stdout.split() == ["plain,status", "plain,stop"]
    options = watch.command(
        env={
            "_DOLT_WATCH_COMPLETE": "bash_complete",
            "COMP_WORDS": "dolt_watch report --s",
            "COMP_CWORD": "2",
        }
    )
    assert options.stdout.split() == ["plain,--set", "plain,--since"]
