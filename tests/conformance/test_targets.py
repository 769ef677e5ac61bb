"""The built-in targets pass the conformance suite."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx  # noqa: F401 - imported late by the targets, which would use up a short time-out
import pytest

from dolt_watch.targets import registry
from dolt_watch.targets.agent_service_settings import AgentServiceSettings
from dolt_watch.targets.command_settings import CommandSettings
from dolt_watch.targets.local import run_files
from dolt_watch.targets.local.settings import LocalSettings
from dolt_watch.targets.local.target import Local
from dolt_watch.targets.protocol import Target
from dolt_watch.targets.settings import BeadBoardSettings, TargetSettings
from dolt_watch.targets.webhook_settings import WebhookSettings
from dolt_watch.testing import ServiceHarness, TargetConformance
from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.beadboard import BeadBoardStub
from tests.stubs.server import StubServer
from tests.stubs.webhook import SECRET, WebhookStub
from tests.support.targets import open_target

AMPLE = timedelta(seconds=10)
"""Timeout for all that ends by itself."""
SILENT = 0.3
"""Timeout in seconds, for tests that wait for all of it. A start takes longer."""


class Served:
    """A stub of the real service, with real HTTP."""

    secrets: Sequence[str] = ()

    def __init__(self, stub: StubServer, settings: TargetSettings) -> None:
        self.stub, self.settings, self.kind = stub, settings, settings.kind
        self.targets: list[Any] = []

    def target(self) -> Target:
        self.targets.append(open_target(self.settings))
        return self.targets[-1]

    def stop_responding(self) -> None:
        for target in self.targets:
            target.timeout = SILENT
        self.stub.always("hang-after-accept")

    def respond_with_garbage(self) -> None:
        self.stub.always("garbage")

    def shut_down(self) -> None:
        self.stub.stop()


class BeadBoardRig(Served):
    secrets = ("hunter2-password",)
    stub: BeadBoardStub

    def __init__(self, stub: BeadBoardStub) -> None:
        url = stub.url.replace("http://", "http://me:hunter2-password@")
        super().__init__(stub, BeadBoardSettings("board", url=url, timeout=AMPLE))

    def runs(self) -> list[str]:
        return [bead for bead, _ in self.stub.accepted]


class TestBeadBoard(TargetConformance):
    @pytest.fixture
    def rig(self) -> Iterator[ServiceHarness]:
        with BeadBoardStub() as stub:
            yield BeadBoardRig(stub)


class AgentServiceRig(Served):
    stub: AgentServiceStub

    def __init__(self, stub: AgentServiceStub) -> None:
        self.secrets = (stub.bearer,)
        super().__init__(
            stub, AgentServiceSettings("service", url=stub.url, token=stub.bearer, timeout=AMPLE)
        )

    def runs(self) -> list[str]:
        return [job.metadata["bead"] for job in self.stub.jobs.values()]


class TestAgentService(TargetConformance):
    @pytest.fixture
    def rig(self) -> Iterator[ServiceHarness]:
        with AgentServiceStub() as stub:
            yield AgentServiceRig(stub)


class WebhookRig(Served):
    secrets = (SECRET, SECRET.removeprefix("whsec_"), "t0ken-t0ken", "k3y-k3y")
    stub: WebhookStub

    def __init__(self, stub: WebhookStub) -> None:
        settings = WebhookSettings(
            "hook",
            url=f"{stub.url}/hook?key=k3y-k3y",
            secret=SECRET,
            token="t0ken-t0ken",
            timeout=AMPLE,
        )
        super().__init__(stub, settings)

    def runs(self) -> list[str]:
        return self.stub.runs


class TestWebhook(TargetConformance):
    @pytest.fixture
    def rig(self) -> Iterator[ServiceHarness]:
        with WebhookStub() as stub:
            yield WebhookRig(stub)


class CommandRig:
    """A shell script that starts a 'run' by adding a line to a file."""

    kind = "command"
    secrets = ()
    WORKS = 'cat >/dev/null; echo "$BEAD_ID" >> runs; echo "job-$(wc -l < runs | tr -d " ")"'

    def __init__(self, folder: Path) -> None:
        self.folder, self.program = folder, folder / "program"
        self.targets: list[Any] = []
        self.does(self.WORKS)

    def does(self, text: str) -> None:
        self.program.write_text(f"#!/bin/sh\ncd {self.folder}\n{text}\n", "utf-8")
        self.program.chmod(0o755)

    def target(self) -> Target:
        settings = CommandSettings("local", argv=(str(self.program),), timeout=AMPLE)
        self.targets.append(open_target(settings))
        return self.targets[-1]

    def runs(self) -> list[str]:
        begun = self.folder / "runs"
        return begun.read_text("utf-8").split() if begun.exists() else []

    def stop_responding(self) -> None:
        for target in self.targets:
            target.timeout = SILENT
        self.does(f"{self.WORKS}; sleep 300")

    def respond_with_garbage(self) -> None:
        self.does('echo "$BEAD_ID" >> runs')

    def shut_down(self) -> None:
        self.program.unlink()


class TestCommand(TargetConformance):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> ServiceHarness:
        return CommandRig(tmp_path)


class LocalRig:
    """Agents as processes. The state directory takes the place of a service that can fail."""

    kind = "local"
    secrets = ("hunter2-password",)

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "state"
        self.targets: list[Any] = []
        self.held = -1

    def target(self) -> Target:
        settings = LocalSettings(
            "local",
            argv=("/bin/sh", "-c", "exec sleep 300"),
            slots=20,
            directory=self.folder,
            root=self.root,
            env=("SECRET=hunter2-password",),
            timeout=AMPLE,
        )
        self.targets.append(open_target(settings))
        return self.targets[-1]

    def runs(self) -> list[str]:
        begun = self.folder.glob("*/runs/*/agent.json")  # Exists once the agent is a process.
        return [str((run_files.read(each.with_name("run.json")) or {})["bead"]) for each in begun]

    def stop_responding(self) -> None:
        """Lock the state directory like another process, and never unlock it."""
        for target in self.targets:
            target.timeout = target.store.timeout = SILENT
        self.root.mkdir(exist_ok=True)
        self.held = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self.held, fcntl.LOCK_EX)

    def respond_with_garbage(self) -> None:
        """Replace the state directory by a file, so that no run's record can be read."""
        self.shut_down()

    def shut_down(self) -> None:
        if self.root.exists():
            self.root.rename(self.folder / "gone")
        self.root.write_text("isn't a directory", "utf-8")

    def close(self) -> None:
        if self.held >= 0:
            os.close(self.held)
        if self.root.is_file():
            self.root.unlink()
            if (self.folder / "gone").exists():
                (self.folder / "gone").rename(self.root)
        target = self.target()
        assert isinstance(target, Local)
        for token in target.live_tokens():
            target.stop(token, "the suite", "the test is over")


class TestLocal(TargetConformance):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Iterator[ServiceHarness]:
        rig = LocalRig(tmp_path)
        yield rig
        rig.close()


def test_every_kind_of_ours_is_here() -> None:
    # The rig of "kubernetes" needs a control plane: tests/conformance/test_target_kubernetes.py.
    assert {"beadboard", "agent-service", "webhook", "command", "local", "kubernetes"} == set(
        registry.BUILT_IN
    )
