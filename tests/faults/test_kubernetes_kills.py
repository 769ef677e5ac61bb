"""Workers and the API server are killed at random. Every bead gets exactly one Job that runs."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubernetes import ControlPlane, Namespace, control_plane_of_this_run

SETTINGS = """
settle = "0s"
poll = "200ms"

[rules.agent]
target = "cluster"
max_in_flight = {slots}
max_attempts = 50

[targets.cluster]
kind = "kubernetes"
timeout = "{timeout}"
server = "{server}"
namespace = "{namespace}"
token_file = "{token}"
ca_file = "{ca}"
image = "stand-in"
command = ["sh", "-c", "echo ran > {runs}/$BEAD_ID.$DOLT_WATCH_TOKEN"]
max_jobs = {slots}
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane_of_this_run(tmp_path_factory) as found:
        yield found


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[Namespace]:
    with plane.namespace() as made:
        yield made


class Storm:
    """A tracker with beads, workers that are killed, and agents that close their beads."""

    def __init__(
        self, workspace: Any, server: Any, namespace: Namespace, slots: int, timeout: str = "3s"
    ) -> None:
        self.workspace, self.server, self.namespace = workspace, server, namespace
        self.runs = workspace.path / "runs"
        self.runs.mkdir()
        token = workspace.path / "token"
        token.write_text(namespace.token(), "utf-8")
        text = SETTINGS.format(
            slots=slots,
            timeout=timeout,
            server=namespace.plane.server,
            namespace=namespace.name,
            token=token,
            ca=namespace.plane.ca_file,
            runs=self.runs,
        )
        (workspace.path / "dolt_watch.toml").write_text(text, "utf-8")
        self.dice = random.Random(20)
        self.closed: set[str] = set()
        self.errors: list[str] = []
        self.is_over = threading.Event()

    def sql(self, *texts: str) -> list[tuple[Any, ...]]:
        return list(self.server.sql(*texts, database=self.workspace.database))

    def assign(self, beads: list[str]) -> None:
        rows = ", ".join(f"('{bead}', 't', '', '', 'must', '', 'agent')" for bead in beads)
        columns = "id, title, description, design, acceptance_criteria, notes, assignee"
        self.sql(
            f"INSERT INTO issues ({columns}) VALUES {rows}", "CALL DOLT_COMMIT('-Am', 'assigned')"
        )

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.workspace.path / "workers.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dolt_watch", *command],
                cwd=self.workspace.path,
                env=self.workspace.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def command(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dolt_watch", *command],
            cwd=self.workspace.path,
            env=self.workspace.env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def keep_closing(self) -> None:
        """Close the beads of finished runs, as agents do at the end."""
        while not self.is_over.is_set():
            ran = {path.name.partition(".")[0] for path in self.runs.iterdir()}
            if waiting := sorted(ran - self.closed):
                self._close(waiting)
            # Workers that decide during a commit have to start over.
            self.is_over.wait(2.0)

    def _close(self, beads: list[str]) -> None:
        listed = ", ".join(f"'{bead}'" for bead in beads)
        try:
            self.sql(
                "UPDATE issues SET status = 'closed', closed_at = UTC_TIMESTAMP()"
                f" WHERE id IN ({listed}) AND status = 'in_progress'",
                "CALL DOLT_COMMIT('-A', '-m', 'closed', '--allow-empty')",
            )
            found = self.sql(f"SELECT id FROM issues WHERE status = 'closed' AND id IN ({listed})")
            self.closed |= {row[0] for row in found}
        except Exception as error:
            # After a conflict with a worker, the next turn tries again.
            self.errors.append(str(error))

    def kill_at_random(self, seconds: float, mean_pause: float) -> None:
        """Run two services and one-shot commands, and kill one of them at random intervals."""
        workers = [self.start("run"), self.start("run"), self.start("dispatch")]
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                time.sleep(self.dice.expovariate(1 / mean_pause))
                number = self.dice.randrange(len(workers))
                workers[number].send_signal(signal.SIGKILL)
                workers[number].wait()
                workers[number] = self.start("dispatch" if number == 2 else "run")
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()

    def finish(self, beads: int, seconds: float) -> None:
        """Run one service without kills until every bead is closed."""
        worker = self.start("run")
        try:
            deadline = time.monotonic() + seconds
            while len(self.closed) < beads:
                assert time.monotonic() < deadline, (
                    f"{len(self.closed)} of {beads} beads are closed"
                )
                time.sleep(0.5)
        finally:
            worker.terminate()
            worker.wait(30)


def run_storm(storm: Storm, beads: int, seconds: float, mean_pause: float) -> None:
    names = [f"bd-{number}" for number in range(beads)]
    storm.assign(names)
    storm.command("init")
    closing = threading.Thread(target=storm.keep_closing)
    closing.start()
    try:
        storm.kill_at_random(seconds, mean_pause)
        storm.finish(beads, 60 + 2 * beads)
    finally:
        storm.is_over.set()
        closing.join()
    jobs = [job for job in storm.namespace.list_jobs() if not job["spec"].get("suspend")]
    ran = sorted(job["metadata"]["annotations"]["dolt-watch.dev/bead"] for job in jobs)
    assert ran == sorted(names), "one Job for each bead"
    assert sorted(path.name.partition(".")[0] for path in storm.runs.iterdir()) == sorted(names)
    said = json.loads(storm.command("replay", "--verify", "--format", "json"))
    assert said["differences"] == [], said


@pytest.mark.slow
def test_a_thousand_beads_over_a_hundred_slots(
    beads_workspace: Any, dolt_server: Any, namespace: Namespace
) -> None:
    # A busy machine may need more than 3 s for an answer. That counts as an outage, in which there
    # are no claims for half a minute. This test doesn't kill the API server.
    storm = Storm(beads_workspace, dolt_server, namespace, 100, timeout="15s")
    run_storm(storm, 1000, 240.0, 4.0)
    [[overdue]] = storm.sql("SELECT COUNT(*) FROM watch_decision WHERE kind = 'overdue'")
    assert overdue, "no worker was killed between its claim and its report: nothing was tested"


@pytest.mark.slow
def test_the_api_server_is_killed_again_and_again(
    beads_workspace: Any, dolt_server: Any, namespace: Namespace
) -> None:
    storm = Storm(beads_workspace, dolt_server, namespace, 20)
    folder: Path = namespace.plane.folder

    def keep_killing() -> None:
        for _ in range(5):
            if storm.is_over.wait(15):
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(
                    json.loads((folder / "ready.json").read_text("utf-8"))["api_pid"],
                    signal.SIGKILL,
                )

    killing = threading.Thread(target=keep_killing)
    killing.start()
    run_storm(storm, 100, 80.0, 8.0)
    killing.join()
