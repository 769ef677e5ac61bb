"""Blanks and newlines around a URL or a secret, as `echo` and `$(cat file)` add them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dolt_watch.config import load
from dolt_watch.engines.address import ServerAddress
from dolt_watch.errors import SettingsError
from tests.support import forked
from tests.support.targets import open_target
from tests.unit.config.test_beads_connection import FULL, metadata

AROUND = ["\n", "\r\n", " ", "\t", " \n "]
SECRET = "whsec_" + "QUFB" * 8
TOML = """
[targets.hook]
kind = "webhook"
[targets.service]
kind = "agent-service"
"""


@pytest.mark.parametrize("blank", AROUND)
@pytest.mark.parametrize(
    ("variable", "value", "target", "key"),
    [
        ("BEADBOARD_URL", "http://h:1", "beadboard", "url"),
        ("DOLT_WATCH_TARGETS_BEADBOARD_URL", "http://h:1", "beadboard", "url"),
        ("DOLT_WATCH_TARGETS_BEADBOARD_SERVICE_URL", "http://h:1", "beadboard", "service_url"),
        ("CLAUDE_AGENT_SERVICE_URL", "http://h:1", "service", "url"),
        ("API_BEARER_TOKEN", "t0ken", "service", "token"),
        ("DOLT_WATCH_TARGETS_SERVICE_TOKEN", "t0ken", "service", "token"),
        ("DOLT_WATCH_TARGETS_HOOK_URL", "http://h:1/x?y", "hook", "url"),
        ("DOLT_WATCH_TARGETS_HOOK_TOKEN", "t0ken", "hook", "token"),
        ("DOLT_WATCH_TARGETS_HOOK_SECRET", SECRET, "hook", "secret"),
        ("DOLT_WATCH_TARGETS_HOOK_PREVIOUS_SECRET", SECRET, "hook", "previous_secret"),
    ],
)
def test_around_a_targets_value(
    variable: str, value: str, target: str, key: str, blank: str, tmp_path: Path
) -> None:
    (tmp_path / "dolt_watch.toml").write_text(TOML, "utf-8")
    env = {"DOLT_WATCH_DATABASE": "dolt://h/d", variable: blank + value + blank}
    assert getattr(load({}, env, tmp_path).targets[target], key) == value
    env[variable] = (
        blank  # A blank value counts as unset. The key's own file or variable applies instead.
    )
    if not variable.startswith("DOLT_WATCH"):
        assert not getattr(load({}, env, tmp_path).targets[target], key)


@pytest.mark.parametrize("blank", AROUND)
@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("DOLT_WATCH_DATABASE", "dolt://u@h:1/d", "database", "d"),
        ("BEADS_DOLT_SERVER_HOST", "h", "host", "h"),
        ("BEADS_DOLT_SERVER_PORT", "3400", "port", 3400),
        ("BEADS_DOLT_PORT", "3400", "port", 3400),
        ("BEADS_DOLT_SERVER_USER", "u", "user", "u"),
        ("BEADS_DOLT_SERVER_DATABASE", "d", "database", "d"),
        ("BEADS_DOLT_SERVER_SOCKET", "/s", "socket", "/s"),
        ("BEADS_DOLT_SERVER_TLS", "0", "tls", False),
        ("BEADS_DOLT_PASSWORD", "pw", "password", "pw"),
        ("DOLT_WATCH_PASSWORD", "pw", "password", "pw"),
        ("DOLT_WATCH_PASSWORD_FILE", "file", "password", " in a file "),
        ("BEADS_DIR", ".beads", "database", "tracker"),
    ],
)
def test_around_the_connection(
    variable: str, value: str, field: str, expected: object, blank: str, tmp_path: Path
) -> None:
    metadata(tmp_path, FULL)
    (tmp_path / "file").write_text(" in a file \n", "utf-8")
    address = load({}, {variable: blank + value + blank}, tmp_path).address
    assert isinstance(address, ServerAddress)
    assert getattr(address, field) == expected


@pytest.mark.parametrize("blank", AROUND)
def test_around_a_secret_in_a_file(blank: str, tmp_path: Path) -> None:
    (tmp_path / "dolt_watch.toml").write_text(
        TOML.replace('"webhook"', '"webhook"\nsecret_file = "s"\ntoken_file = "t"'), "utf-8"
    )
    (tmp_path / "s").write_text(blank + SECRET + blank, "utf-8")
    (tmp_path / "t").write_text(blank + "t0ken" + blank, "utf-8")
    hook = load({}, {"DOLT_WATCH_DATABASE": "dolt://h/d"}, tmp_path).targets["hook"]
    assert (hook.secret, hook.token) == (SECRET, "t0ken")


@pytest.mark.parametrize(
    "url", ["http://h: 1", "http://h\n.example/", "http://h/a b", "http://h/\x07", "ht tp://h"]
)
@pytest.mark.parametrize("target", ["beadboard", "service", "hook"])
def test_within_a_url(url: str, target: str, tmp_path: Path) -> None:
    (tmp_path / "dolt_watch.toml").write_text(TOML, "utf-8")
    env = {
        "DOLT_WATCH_DATABASE": "dolt://h/d",
        f"DOLT_WATCH_TARGETS_{target.upper()}_URL": url,
        "DOLT_WATCH_TARGETS_HOOK_SECRET": SECRET,
    }
    with pytest.raises(SettingsError, match="space or a line break"):
        open_target(load({}, env, tmp_path).targets[target])


@pytest.mark.parametrize("blank", ["\n", " "])
def test_around_the_ping_url(blank: str, tmp_path: Path) -> None:
    """The command accepts the URL and fails at its missing database: exit 3, not 2."""
    done = forked.dolt_watch(
        ["tick", "--database", f"doltlite://{tmp_path}/none.db"],
        cwd=tmp_path,
        env={"DOLT_WATCH_PING_URL": f"{blank}http://127.0.0.1:1/{blank}", "HOME": str(tmp_path)},
    )
    assert done.returncode == 3, done.stderr
