"""The database connection from bd's own files and variables, and its password."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.config import Settings, load
from dolt_watch.engines.address import ServerAddress
from dolt_watch.errors import SettingsError

FULL = {
    "database": "dolt",
    "backend": "dolt",
    "dolt_mode": "server",
    "dolt_server_host": "dolt.example",
    "dolt_server_port": 3399,
    "dolt_server_user": "beads",
    "dolt_database": "tracker",
    "project_id": "abc-123",
}


def metadata(folder: Path, content: Any) -> Path:
    beads = folder / ".beads"
    beads.mkdir(exist_ok=True)
    path = beads / "metadata.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def address(settings: Settings) -> ServerAddress:
    assert isinstance(settings.address, ServerAddress)
    return settings.address


def test_metadata_is_found_above(tmp_path: Path) -> None:
    metadata(tmp_path, FULL)
    below = tmp_path / "a" / "b"
    (below / ".beads").mkdir(parents=True)  # has no metadata.json, so it hides nothing
    settings = load({}, {}, below)
    assert settings.address == ServerAddress("dolt.example", 3399, "beads", "", "tracker")
    assert settings.project_id == "abc-123"
    assert settings.origins["database.host"] == ".beads/metadata.json"
    assert settings.origins["database.tls"] == "default"


def test_beads_dir(tmp_path: Path) -> None:
    metadata(tmp_path, FULL)
    (tmp_path / "work").mkdir()
    assert address(load({}, {"BEADS_DIR": "../.beads"}, tmp_path / "work")).database == "tracker"


def test_environment_over_file(tmp_path: Path) -> None:
    metadata(tmp_path, {**FULL, "dolt_server_tls": True, "dolt_server_socket": "/one"})
    assert address(load({}, {}, tmp_path)).tls
    given = {
        "HOST": "h",
        "PORT": "3400",
        "USER": "u",
        "DATABASE": "d",
        "SOCKET": "/two",
        "TLS": "0",
    }
    env = {f"BEADS_DOLT_SERVER_{name}": value for name, value in given.items()}
    settings = load({}, env, tmp_path)
    assert settings.address == ServerAddress("h", 3400, "u", "", "d", "/two", False)
    assert settings.origins["database.port"] == "BEADS_DOLT_SERVER_PORT"


def test_plain_text_off_loopback_must_be_said(tmp_path: Path) -> None:
    metadata(tmp_path, FULL)
    assert address(load({}, {}, tmp_path)).uses_tls
    assert not address(load({}, {"BEADS_DOLT_SERVER_TLS": "false"}, tmp_path)).uses_tls
    assert not address(load({}, {"BEADS_DOLT_SERVER_HOST": "127.0.0.1"}, tmp_path)).uses_tls
    metadata(tmp_path, {**FULL, "dolt_server_tls": False})
    settings = load({}, {}, tmp_path)
    assert not address(settings).uses_tls
    assert settings.origins["database.tls"] == ".beads/metadata.json"


def test_the_environment_alone_will_do(tmp_path: Path) -> None:
    settings = load({}, {"BEADS_DOLT_SERVER_DATABASE": "d"}, tmp_path)
    assert address(settings) == ServerAddress("127.0.0.1", 3307, "root", "", "d")
    assert settings.project_id is None


def test_the_port_of_a_local_server(tmp_path: Path) -> None:
    metadata(tmp_path, {"dolt_mode": "server", "dolt_database": "d"})
    assert address(load({}, {}, tmp_path)).port == 3307, "bd's own default"
    (tmp_path / ".beads" / "dolt-server.port").write_text("13311\n")
    settings = load({}, {}, tmp_path)
    assert (address(settings).port, settings.origins["database.port"]) == (
        13311,
        ".beads/dolt-server.port",
    )
    metadata(tmp_path, FULL)
    assert address(load({}, {}, tmp_path)).port == 13311, "bd's order: the port file goes first"


def test_a_database_named_outright_asks_nothing_of_metadata(tmp_path: Path) -> None:
    metadata(tmp_path, "{broken")
    assert load({"database": "dolt://h/d"}, {}, tmp_path).project_id is None


def test_a_server_named_without_a_mode_is_meant(tmp_path: Path) -> None:
    metadata(tmp_path, {key: value for key, value in FULL.items() if key != "dolt_mode"})
    assert address(load({}, {}, tmp_path)).host == "dolt.example"


def test_passwords_in_their_order(tmp_path: Path) -> None:
    metadata(tmp_path, FULL)
    home = tmp_path / ".config" / "beads"
    home.mkdir(parents=True)
    (home / "credentials").write_text(
        "[else:1]\npassword = no\n[dolt.example:3399]\npassword = at%home:=\n"
    )
    (tmp_path / "named").write_text("[dolt.example:3399]\npassword=named\n")
    (tmp_path / "file").write_text(" in file \n")
    env = {"HOME": str(tmp_path)}
    steps = [
        ({}, "at%home:=", "~/.config/beads/credentials"),
        ({"BEADS_CREDENTIALS_FILE": "named"}, "named", "BEADS_CREDENTIALS_FILE"),
        ({"BEADS_DOLT_PASSWORD": "beads"}, "beads", "BEADS_DOLT_PASSWORD"),
        ({"DOLT_WATCH_PASSWORD_FILE": "file"}, " in file ", "DOLT_WATCH_PASSWORD_FILE"),
        ({"DOLT_WATCH_PASSWORD": "ours"}, "ours", "DOLT_WATCH_PASSWORD"),
    ]
    for more, password, origin in steps:
        env |= more
        settings = load({}, env, tmp_path)
        assert (address(settings).password, settings.origins["password"]) == (password, origin)
    url = {"database": "dolt://dolt.example:3399/x"}
    assert address(load(url, {"HOME": str(tmp_path)}, tmp_path)).password == "at%home:=", (
        "for a URL too"
    )


@pytest.mark.parametrize(
    "text", ["password = pa55", "[dolt.example:3399]\npa55", "[dolt.example:3399\npa55"]
)
def test_credentials_that_are_not_ini_are_not_repeated(tmp_path: Path, text: str) -> None:
    metadata(tmp_path, FULL)
    (tmp_path / "named").write_text(text)
    with pytest.raises(SettingsError, match="not INI") as caught:
        load({}, {"BEADS_CREDENTIALS_FILE": "named"}, tmp_path)
    assert "pa55" not in str(caught.value)
    assert caught.value.where and caught.value.where.startswith(str(tmp_path / "named:"))


@pytest.mark.parametrize(
    ("content", "message", "fix"),
    [
        ("{broken", "not JSON", "bd bootstrap"),
        ("", "not JSON", "bd bootstrap"),
        ("[]", "a JSON object", "bd bootstrap"),
        pytest.param("[" * 100_000, "not JSON", "bd bootstrap", id="deep"),
        ({**FULL, "dolt_mode": "embedded"}, "dolt_mode is 'embedded'", "bd dolt start"),
        ({**FULL, "dolt_mode": 5}, "dolt_mode is 5", "bd dolt start"),
        ({"database": "dolt"}, "dolt_mode is not set", "bd dolt start"),
        ({**FULL, "dolt_server_port": "many"}, "a port from 1 to 65535", "bd dolt set port"),
        ({**FULL, "dolt_server_port": True}, "a port", "bd dolt set port"),
        ({**FULL, "dolt_server_port": 70000}, "a port", "bd dolt set port"),
        (
            {**FULL, "dolt_server_host": 5},
            "dolt_server_host must be text",
            "Correct dolt_server_host",
        ),
        ({**FULL, "dolt_database": ["x"]}, "dolt_database must be text", "Correct dolt_database"),
        ({**FULL, "dolt_server_tls": "perhaps"}, "true or false", "Correct dolt_server_tls"),
        ({**FULL, "project_id": 5}, "project_id must be text", "Correct project_id"),
    ],
)
def test_bad_metadata(tmp_path: Path, content: Any, message: str, fix: str) -> None:
    path = metadata(tmp_path, content)
    with pytest.raises(SettingsError) as caught:
        load({}, {}, tmp_path)
    assert message in caught.value.message
    assert fix in (caught.value.fix or "")
    assert str(path) in (caught.value.where or "")


def test_metadata_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / ".beads" / "metadata.json").mkdir(parents=True)
    with pytest.raises(SettingsError, match=r"Can't read metadata\.json"):
        load({}, {}, tmp_path)


@pytest.mark.parametrize("env", [{"PORT": "x"}, {"PORT": "0"}, {"TLS": "perhaps"}])
def test_bad_environment_of_beads(tmp_path: Path, env: dict[str, str]) -> None:
    metadata(tmp_path, FULL)
    (name,) = env
    with pytest.raises(SettingsError) as caught:
        load({}, {f"BEADS_DOLT_SERVER_{name}": env[name]}, tmp_path)
    assert caught.value.where == f"BEADS_DOLT_SERVER_{name}", "the variable, not the file's key"


def test_no_database_anywhere(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No database is set") as caught:
        load({}, {}, tmp_path)
    assert "DOLT_WATCH_DATABASE" in (caught.value.fix or "")
    (tmp_path / ".beads").mkdir()
    with pytest.raises(SettingsError, match=r"no metadata\.json"):
        load({}, {}, tmp_path)
    with pytest.raises(SettingsError, match="BEADS_DIR is not a folder"):
        load({}, {"BEADS_DIR": "nowhere"}, tmp_path)


@pytest.fixture
def closed() -> Iterator[Path]:
    """Yield a tracker whose ``.beads`` folder this process can't read.

    bd creates the folder for its own user only.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        metadata(folder, FULL)
        (folder / ".beads").chmod(0)
        root = os.geteuid() == 0  # root can read everything
        if root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            (folder / ".beads").chmod(0o700)


def test_somebody_elses_beads(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in Python 3.14, where these report no error.
    for name, new in (("exists", "exists"), ("is_dir", "isdir"), ("is_file", "isfile")):
        monkeypatch.setattr(Path, name, getattr(os.path, new))
    with pytest.raises(SettingsError) as caught:
        load({}, {}, closed)
    error = caught.value
    assert error.message == f"Can't search {closed}/.beads: Permission denied."
    assert (
        error.fix
        == f"Run as the owner of the folder, or allow access: `chmod g+rx {closed}/.beads`."
    )


@pytest.mark.parametrize("below", [".", ".beads"])
def test_somebody_elses_beads_beside_a_named_file(closed: Path, below: str) -> None:
    """Without a search for the settings file, the search for the folder meets it first."""
    for env, cwd in (({}, closed / below), ({"BEADS_DIR": str(closed / ".beads/below")}, closed)):
        with pytest.raises(SettingsError, match=r"Can't search .*/\.beads: Permission denied"):
            load({"config": "/dev/null"}, env, cwd)
