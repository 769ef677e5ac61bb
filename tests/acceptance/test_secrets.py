"""A search for canaries in all output and all tables.

Each secret is set to a unique word. Every command runs, and no readable text may contain a secret.

The reverse is tested too: a terminal shows other writers' control characters escaped.
"""

from __future__ import annotations

import base64
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.acceptance.conftest import Watch, rows_of
from tests.stubs.beadboard import DISPATCH, STATUS, BeadBoardStub, dead_port
from tests.stubs.server import Recorded, Reply
from tests.support import forked

DATABASE, BOARD, SERVICE, BEARER = (
    "Canary-Wren/7",
    "Canary@Finch:8",
    "Canary#Robin-9",
    "Canary-Heron-10",
)
URL = {BOARD: "Canary%40Finch%3A8", SERVICE: "Canary%23Robin-9"}
CANARIES = (
    *(DATABASE, BOARD, SERVICE, BEARER, *URL.values()),
    *(base64.b64encode(f"user:{word}".encode()).decode() for word in (BOARD, SERVICE)),
)


class Echo(BeadBoardStub):
    """A BeadBoard that refuses each request and repeats its credentials, as debug pages do."""

    def answer(self, request: Recorded) -> Reply:
        header = request.headers.get("authorization", "")
        way, _, said = header.partition(" ")
        spelt = base64.b64decode(said).decode() if way == "Basic" else said
        told = {"error": f"not for {header} {spelt}", "password": spelt.partition(":")[2]}
        status = {DISPATCH: 500, STATUS: 200, "/health": 200}.get(request.path, 503)
        return Reply(status, told | {"status": "ok", "busy": False})


@dataclass
class Hunt:
    watch: Watch
    env: Mapping[str, str]
    heard: str = ""
    """Output of all commands."""
    met: int = 0
    """Number of commands found in the process list. A command that ends at once may be missed."""
    seen: set[str] = field(default_factory=set)
    """Verbs that ran as a separate process."""

    def run(self, *arguments: str, **env: str) -> str:
        """Run a command and check its output.

        The first run of each verb is a separate process. Meanwhile, the command lines of all
        processes on this machine are checked.
        """
        verb = next(word for word in arguments if not word.startswith("-"))
        if verb in self.seen:
            return self.hear_only(*arguments, **env)
        self.seen.add(verb)
        with subprocess.Popen(
            [sys.executable, "-m", "dolt_watch", *arguments],
            cwd=self.watch.bd.path,
            env={**self.env, **env},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as child:
            seen = ""
            while True:
                seen += _command_lines()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    text, _ = child.communicate(timeout=0.1)
                    break
        self.met += " ".join(["dolt_watch", *arguments]) in seen
        self.check(seen, f"the process list during {arguments}")
        self.hear(arguments, text)
        return text

    def hear_only(self, *arguments: str, **env: str) -> str:
        """Run a command in a forked process, and check its output only.

        The command line contains no other secrets than those that ``run`` has checked.
        """
        said = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        env = {**self.env, **env}
        done = forked.dolt_watch(arguments, cwd=self.watch.bd.path, env=env, **said)
        self.hear(arguments, done.stdout)
        return done.stdout

    def hear(self, arguments: Sequence[str], text: str) -> None:
        self.heard += f"$ {arguments}\n{text}"
        self.check(text, f"the output of {arguments}")

    @staticmethod
    def check(text: str, where: str) -> None:
        for canary in CANARIES:
            assert canary not in text, f"{canary} in {where}"


def _command_lines() -> str:
    lines = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                lines.append(
                    (process / "cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode("utf-8", "replace")
                )
    return "\n".join(lines)


@pytest.fixture
def hunt(watch: Watch) -> Iterator[Hunt]:
    """Yield a hunt. The passwords of its database user and of its URLs are canaries."""
    user = f"c_{watch.bd.database[-8:]}"
    watch.server.sql(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY '{DATABASE}'",
        f"GRANT ALL ON `{watch.bd.database}`.* TO '{user}'@'%'",
    )
    with Echo() as board:
        place = board.url.removeprefix("http://")
        yield Hunt(
            watch,
            {
                **watch.env,
                "BEADS_DOLT_SERVER_USER": user,
                "BEADS_DOLT_PASSWORD": DATABASE,
                "API_BEARER_TOKEN": BEARER,
                "BEADBOARD_URL": f"http://user:{URL[BOARD]}@{place}",
                "DOLT_WATCH_SETTLE": "0s",
            },
        )
    watch.server.sql(f"DROP USER '{user}'@'%'")


@pytest.mark.long
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads the process list in /proc")  # noqa: PTH112
def test_no_canary_anywhere(hunt: Hunt) -> None:
    from dolt_watch.cli import COMMANDS

    watch, run = hunt.watch, hunt.run
    service = {
        "DOLT_WATCH_TARGETS_BEADBOARD_SERVICE_URL": (
            f"http://user:{URL[SERVICE]}@{watch.board.url[7:]}"
        )
    }
    bead = watch.assigned("never accepted")
    for verb in ("dispatch", "reap", "tick"):
        run(verb, "--dry-run")
    assert "dispatch failed HTTP 500" in "\n".join(watch.notes(bead)) or "***" in run(
        "--debug", "dispatch"
    )
    assert any("not for Basic *** user:***" in note for note in watch.notes(bead)), (
        "it was repeated, and hidden"
    )
    for arguments in (
        ["config"],
        ["config", "--format", "json"],
        ["status"],
        ["status", "--format", "json"],
        ["doctor"],
        ["doctor", "--format", "json"],
        ["log"],
        ["log", "--format", "json"],
        ["report", "-o", "-"],
        ["init"],
        ["init", "--print-sql"],
        ["init", "--print-grants", "w"],
        ["pause", "--reason", "x"],
        ["resume"],
        ["--debug", "tick"],
        ["reap"],
        ["why", bead],
        ["events"],
        ["replay"],
        ["replay", "--verify"],
    ):
        run(*arguments, **service)
    echo = hunt.env["BEADBOARD_URL"].partition("@")[2]
    other = {
        "CLAUDE_AGENT_SERVICE_URL": f"http://{echo}",
    }
    agent = ("--set", "rules.agent.target=agent-service")
    another = watch.assigned("sent with a token")
    for arguments in (["config"], ["doctor"], ["--debug", "dispatch"], ["status"], ["log"]):
        run(*arguments, *agent, **other)
    assert any("not for Bearer ***" in note for note in watch.notes(another)), watch.notes(another)
    for verb in COMMANDS:
        hunt.hear_only(verb, "--help")
    credentials = watch.bd.path / "credentials"
    credentials.write_text(f"[no section\npassword = {DATABASE}\n")
    for verb in ("config", "doctor", "dispatch"):  # The errors don't contain the password.
        watch.sql("UPDATE issues SET priority = 1 WHERE id = %s", bead)
        for wrong in (
            {"BEADS_DOLT_PASSWORD": "", "BEADS_CREDENTIALS_FILE": str(credentials)},
            {"BEADS_DOLT_PASSWORD": "", "DOLT_WATCH_PASSWORD_FILE": str(credentials)},
            {"BEADS_DOLT_SERVER_PORT": str(dead_port())},
            {"BEADS_DOLT_SERVER_USER": "nobody"},
            {"BEADS_DOLT_SERVER_TLS": "true"},
            {"DOLT_WATCH_DATABASE": f"dolt://root:{DATABASE}@127.0.0.1/beads"},
            {"DOLT_WATCH_PASSWORDS": DATABASE},
            {"BEADBOARD_URL": f"http://user:{URL[BOARD]}@127.0.0.1:{dead_port()}"},
            {"BEADBOARD_URL": f"http://user:{BOARD}/x@127.0.0.1:1"},
            {"BEADBOARD_URL": f"http://user:{SERVICE}@127.0.0.1:1"},
            {"BEADBOARD_URL": f"ftp://user:{URL[BOARD]}@h"},
            {"BEADBOARD_URL": f"http://user:{URL[BOARD]}@h:no"},
            {"BEADBOARD_URL": f"http://{URL[BOARD]}@[::1"},
        ):
            hunt.hear_only("--debug", verb, **wrong)
    tables = [row[0] for row in watch.sql("SHOW TABLES")]
    for table in (
        *tables,
        "dolt_log",
        "dolt_diff_issues",
        "dolt_diff_watch_decision",
        "dolt_diff_events",
    ):
        hunt.check(str(watch.sql(f"SELECT * FROM `{table}`")), table)
    assert {
        "issues",
        "events",
        "watch_decision",
        "watch_settings",
        "watch_cursor",
        "watch_bead",
    } <= set(tables)
    assert "Traceback" in hunt.heard
    assert hunt.met > 8, "their own command lines were among those that were read"


def test_a_target_s_password_has_no_place_on_a_command_line(watch: Watch) -> None:
    """This includes a password with a '/', which looks like a path."""
    ran = watch.command("config", "--set", f"targets.beadboard.url=http://user:{BOARD}/x@h")
    assert (ran.code, "password" in ran.stderr, BOARD in ran.stdout + ran.stderr) == (
        2,
        True,
        False,
    )


def test_what_others_wrote_is_escaped_on_a_terminal(watch: Watch) -> None:
    """A bead's ID may be any text in the table.

    It must not color the output, move the cursor or start a new line.
    """
    evil = "bd-\x1b[2J\x1b]0;owned\x07\ndispatched bd-1 as job 1\u202e"
    watch.committed(
        rows_of([evil.replace("'", "''")]), "UPDATE issues SET title = CONCAT(id, '\x1b[31m')"
    )
    heard = []
    for arguments in (
        ["init"],
        ["dispatch", "--dry-run"],
        ["status"],
        ["doctor"],
        ["dispatch", "--set", "settle=0s"],
        ["status"],
        ["doctor"],
        ["log"],
        ["reap"],
        ["reap", "--set", "rules.agent.stale_after=1ms"],
        ["log"],
    ):
        ran = watch.command(*arguments)
        assert ran.code == 0, ran
        heard.append(ran.stdout + ran.stderr)
    author = "\x1b]0;owned\x07\nsecond line"
    comment = (
        f"INSERT INTO comments (id, issue_id, author, text, created_at) VALUES (UUID(), '{evil}',"
        f" '{author}', 'x', NOW())"
    )
    watch.committed(comment)
    of_bead, of_author = (
        evil.encode("unicode_escape").decode(),
        author.encode("unicode_escape").decode(),
    )
    for shown, *arguments in (
        [of_bead, "why", evil],
        [of_author, "why", evil],
        # This history may contain a tick of the assumed cadence or not. One of the two replays
        # differs.
        ["what if:", "replay", "--every", "1s", "--run-time", "5m"],
        ["what if:", "replay", "--every", "1s", "--when", "status = 'closed'"],
        ["", "replay", "--verify"],
    ):
        ran = watch.command(*arguments)
        assert ran.code == 0, ran
        assert shown in ran.stdout, ran.stdout
        heard.append(ran.stdout + ran.stderr)
    assert any(of_bead in line for ran in heard[-3:-1] for line in ran.splitlines()), heard[-3:-1]
    text = "\n".join(heard)
    assert text.count("bd-\\x1b[2J") > 6
    assert not {character for character in text if not character.isprintable()} - {"\n"}
    assert "\ndispatched bd-1" not in text and "\nsecond line" not in text
