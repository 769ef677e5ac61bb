"""Invocations of ``dolt_watch run`` that fail before the service starts."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

from dolt_watch.engines.address import FileAddress
from dolt_watch.inspection.report.web import plain
from dolt_watch.telemetry.health import Server
from tests.support.commands import Commands, commands


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('[rules.agent]\ntarget = "hook"\n[targets.hook]\nkind = "webhook"', "url"),
        (
            '[notify]\ntarget = "hook"\n[targets.hook]\nkind = "webhook"\nurl = "https://ops.example/"',
            "no secret",
        ),
    ],
)
def test_a_target_that_cannot_be_used(cli: Commands, settings: str, words: str) -> None:
    (cli.folder / "dolt_watch.toml").write_text(settings)
    done = cli.run("run")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and "  fix:   " in done.stderr


@pytest.mark.parametrize(
    ("args", "where"),
    [
        (("--host", "nope.invalid", "--port", "0"), "--host"),
        (("--host", "a..b", "--port", "0"), "--host"),
        (("--host", "192.0.2.1", "--port", "0"), "--host"),
        (("--host", "127.0.0.1"), "--host"),
        (("--host", "", "--port", "0"), "--host"),
    ],
)
def test_an_address_that_is_none(cli: Commands, args: tuple[str, ...], where: str) -> None:
    done = cli.run("run", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert where in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken(cli: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli.run("run", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2 and "where: --port" in done.stderr


def test_a_probe_may_ask_with_head() -> None:
    server = Server("127.0.0.1", 0, {"/healthz": lambda request: plain(200, "o")})
    try:
        asked = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        asked.request("HEAD", "/healthz")
        answer = asked.getresponse()
        assert (answer.status, answer.getheader("content-length"), answer.read()) == (200, "2", b"")
        asked.close()
    finally:
        server.close()
