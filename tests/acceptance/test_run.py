"""``dolt_watch run``: one process that survives outages of its database and its target."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.acceptance.conftest import Watch, rows_of
from tests.support.servers import as_in_a_terminal


class Running:
    """A process of ``dolt_watch run``, with its log lines and its HTTP server."""

    def __init__(self, watch: Watch, *more: str) -> None:
        command = (
            sys.executable,
            "-m",
            "dolt_watch",
            "run",
            "--poll",
            "200ms",
            "--port",
            "0",
            "--log",
            "json",
            *more,
        )
        env = {**watch.env, "DOLT_WATCH_SETTLE": "100ms"}
        self.process = subprocess.Popen(
            command,
            cwd=watch.bd.path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=as_in_a_terminal,
        )
        self.lines: list[dict[str, Any]] = []
        self._new: queue.Queue[dict[str, Any]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            self.lines.append(said)
            self._new.put(said)

    def until(self, words: str, seconds: float = 300) -> dict[str, Any]:
        """Return the next line that contains these words."""
        end = time.monotonic() + seconds
        while True:
            try:
                line = self._new.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"no line with {words!r} in {seconds} s: {self.lines}"
                ) from None
            if words in line["message"]:
                return line

    @property
    def url(self) -> str:
        return next(
            line["message"].split()[1].rpartition("/")[0]
            for line in self.lines
            if line["message"].startswith("serving ")
        )

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        _, text = self.get("/metrics")
        return sum(
            float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)
        )

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=12)


@contextlib.contextmanager
def running(watch: Watch, *more: str) -> Iterator[Running]:
    started = Running(watch, *more)
    try:
        yield started
    finally:
        started.close()


def wait_for(holds: Any, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def test_a_bead_from_assignment_to_sigterm(watch: Watch) -> None:
    with running(watch) as one:
        one.until("leading")
        wait_for(lambda: one.get("/readyz") == (200, "leading\n"))
        assert one.get("/healthz") == (200, "ok\n")
        bead = watch.assigned("by a person")
        said = one.until(f"dispatched {bead}")
        entry = watch.sql(
            "SELECT version, rule FROM watch_decision WHERE bead_id = %s AND kind = 'dispatched'",
            bead,
        )[0]
        claim = "SELECT detail FROM watch_decision WHERE bead_id = %s AND kind = 'claim'"
        assert json.loads(watch.sql(claim, bead)[0][0])["given"]["poll"] == 0.2, "of --poll"
        assert (said["bead"], said["version"], said["rule"], said["commit"]) == (
            bead,
            *entry,
            watch.head(),
        )
        assert watch.sent() == [bead]
        wait_for(lambda: one.metric('dolt_watch_beads{phase="running"') == 1)
        assert one.metric('dolt_watch_posts_total{outcome="accepted"}') == 1
        assert one.metric('dolt_watch_decisions_total{kind="claim"}') == 1
        assert one.get("/nothing")[0] == 404
        quiet = len(one.lines)
        ticks = one.metric("dolt_watch_ticks_total")
        wait_for(lambda: one.metric("dolt_watch_ticks_total") > ticks + 5)
        assert len(one.lines) == quiet, "an idle poll says nothing"
        assert one.end() == 0
        assert one.lines[-1]["message"] == "stopped"


def test_the_database_goes_away_and_comes_back(watch: Watch) -> None:
    """The log has one line for the outage, not one for each poll."""
    with running(watch) as one:
        one.until("leading")
        watch.sql("ALTER TABLE watch_cursor RENAME TO away")
        one.until("error: ")
        assert one.get("/readyz")[0] == 503
        watch.sql("ALTER TABLE away RENAME TO watch_cursor")
        one.until("the database can be reached again")
        assert len([line for line in one.lines if line["level"] == "error"]) == 1
        bead = watch.assigned("after the outage")
        one.until(f"dispatched {bead}")
        assert one.end(signal.SIGINT) == 0


def test_two_replicas(watch: Watch) -> None:
    """One process leads. The other is a standby, and takes over when the first dies."""
    with running(watch) as one:
        one.until("leading")
        with running(watch) as two:
            two.until("standing by")
            wait_for(lambda: two.get("/readyz") == (200, "standing by\n"))
            assert two.metric("dolt_watch_leader") == 0
            os.kill(one.process.pid, signal.SIGKILL)
            two.until("leading")
            bead = watch.assigned("taken over")
            two.until(f"dispatched {bead}")
            assert (watch.sent(), two.end()) == ([bead], 0)


def test_sigterm_while_an_answer_is_awaited(watch: Watch) -> None:
    """The answer arrives in time, so the attempt is settled before the process ends."""
    with running(watch) as one:
        one.until("leading")
        watch.board.answer_next("hang-after-accept")
        bead = watch.assigned("slow")
        one.until(f"picked bead: {bead}")
        wait_for(lambda: watch.sent() == [bead])
        one.process.send_signal(signal.SIGTERM)
        watch.board.release()
        assert one.process.wait(timeout=12) == 0
        assert watch.kinds(bead)[-1] in ("dispatched", "unknown")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--poll", "0s"), "--poll"),
        (("--poll", "2"), "Add a unit"),
        (("--set", "poll=1ms"), "poll must be at least 50ms"),
        (("--port", "1", "--host", "192.0.2.1"), "Can't serve"),
    ],
)
def test_bad_arguments(watch: Watch, arguments: Sequence[str], words: str) -> None:
    ran = watch.command("run", *arguments)
    assert (ran.code, words in ran.stderr, "Traceback" in ran.stderr) == (2, True, False), (
        ran.stderr
    )


def test_500_at_once(watch: Watch) -> None:
    with running(watch, "--set", "rules.agent.max_in_flight=3") as one:
        one.until("leading")
        watch.committed(rows_of([f"bd-{n:03}" for n in range(500)]))
        wait_for(lambda: one.metric('dolt_watch_held_beads{gate="max_in_flight"}') >= 497)
        assert one.metric("dolt_watch_beads") >= 500
        assert one.metric("dolt_watch_oldest_waiting_seconds") > 0
        assert one.end() == 0
