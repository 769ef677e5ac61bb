"""Ping, metrics and status of one-shot commands.

A command reports wrong settings before it does anything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dolt_watch.engines.address import FileAddress
from dolt_watch.errors import SettingsError
from dolt_watch.telemetry.heartbeat_ping import HeartbeatPing
from tests.support.commands import Commands, commands


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


@pytest.mark.parametrize(
    "url", ["not a url", "http://a..b/", "http://", "ftp://h/", "http://h\n/", "http:///x", "h/x"]
)
def test_a_ping_to_nowhere(url: str) -> None:
    with pytest.raises(SettingsError):
        HeartbeatPing(url)


@pytest.mark.parametrize(
    "url",
    ["https://hc.example/ping/1", "http://10.0.0.1:8080", "http://[::1]:9/x", "http://localhost/"],
)
def test_a_ping(url: str) -> None:
    assert HeartbeatPing(url).url == url


def test_nothing_comes_of_a_ping_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "nonsense://::")
    ping = HeartbeatPing("http://127.0.0.1:99999/")
    ping()
    ping.wait()
    assert seen == []


@pytest.mark.parametrize("command", ["tick", "run"])
def test_a_ping_to_nowhere_ends_a_command_before_it_begins(cli: Commands, command: str) -> None:
    cli.here.assign("bd-a")
    done = cli.run(command, env={"DOLT_WATCH_PING_URL": "http://a..b/secret"})
    assert (done.returncode, done.stdout, cli.board.accepted) == (2, "", [])
    assert (
        "DOLT_WATCH_PING_URL is not an http or https URL" in done.stderr
        and "secret" not in done.stderr
    )


def test_metrics_that_cannot_be_written(cli: Commands) -> None:
    cli.here.assign("bd-a")
    for path in ("nowhere/x.prom", ".", ""):
        done = cli.run("dispatch", "--metrics-file", path)
        assert (done.returncode, done.stdout, cli.board.accepted) == (2, "", []), path
    done = cli.run("dispatch", "--dry-run", "--metrics-file", "x.prom")
    assert done.returncode == 2 and "--dry-run" in done.stderr
    done = cli.run("dispatch", "--dry-run", env={"DOLT_WATCH_METRICS_FILE": "x.prom"})
    assert (done.returncode, (cli.folder / "x.prom").exists()) == (0, False), (
        "a variable of every tick"
    )


def test_a_target_that_tells_no_capacity(cli: Commands) -> None:
    settings = (
        '[rules.agent]\ntarget = "local"\n[targets.local]\nkind = "command"\nargv = ["true"]\n'
    )
    (cli.folder / "dolt_watch.toml").write_text(settings)
    [line] = [line for line in cli.run("status").stdout.splitlines() if line.startswith("target:")]
    assert "None" not in line and "capacity not known" in line
