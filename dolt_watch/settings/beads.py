"""How bd itself finds its database: ``.beads/metadata.json``, ``BEADS_…``, ``.beads/dolt-server.port``, the credentials file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, NamedTuple

from dolt_watch.engines.address import Address
from dolt_watch.errors import SettingsError
from dolt_watch.settings.values import shown, there, truth

METADATA = ".beads/metadata.json"
DATABASE_FIX = (
    "run in a folder with .beads/ (bd init --server), or set DOLT_WATCH_DATABASE=dolt://user@host:port/database"
)
SERVER_FIX = (
    "bd export --all -o .beads/issues.jsonl, then "
    "bd init --server --server-host HOST --server-port PORT --force --from-jsonl"
)
_PORT_FILE = "dolt-server.port"
# bd's own defaults, where neither its file nor its environment says more.
_DEFAULTS: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 3307,
    "user": "root",
    "database": "beads",
    "socket": "",
    "tls": None,
}
_FIELDS = {name: f"dolt_server_{name}" for name in _DEFAULTS} | {"database": "dolt_database"}


class Connection(NamedTuple):
    """What beads says of its database."""

    address: Address
    """Without the password."""
    project_id: str | None
    """Of metadata.json."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """'database.host' … → where from."""


def connection(env: Mapping[str, str], cwd: Path) -> Connection:
    """Raises SettingsError: no database anywhere, metadata.json unusable, dolt_mode not 'server'."""
    folder = _folder(env, cwd)
    path = folder / "metadata.json" if folder else None
    if path is not None and not there(path):
        path = None
    if path is None and not env.get(_variable("database")):
        lacks = f"{folder} has no metadata.json" if folder else "no .beads/ here or in any folder above"
        raise SettingsError(f"no database is set: {lacks}", where=str(cwd), fix=DATABASE_FIX)
    metadata = _read(path) if path else {}
    if path:
        _check_mode(metadata, env, path)
    parts: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, default in _DEFAULTS.items():
        parts[name], origins[f"database.{name}"] = _part(name, default, metadata, path, folder, env)
    project = metadata.get("project_id") or None
    if project is not None and not isinstance(project, str):
        raise _wrong(path, "project_id", "text", project)
    origins["project_id"] = METADATA if project else "default"
    return Connection(Address(**parts), project, origins)


def _folder(env: Mapping[str, str], cwd: Path) -> Path | None:
    named = env.get("BEADS_DIR")
    if named:
        folder = cwd / Path(named).expanduser()
        if not folder.is_dir():
            raise SettingsError("BEADS_DIR is not a folder", where=str(folder), fix="set it to the path of .beads/")
        return folder
    # A .beads/ without metadata.json (bd keeps one in the home folder for its shared server) must not hide one above.
    found = [up / ".beads" for up in (cwd, *cwd.parents) if (up / ".beads").is_dir()]
    return next((each for each in found if there(each / "metadata.json")), found[0] if found else None)


def _read(path: Path) -> dict[str, Any]:
    import json

    fix = "restore it (git checkout .beads/metadata.json), or make it anew: bd bootstrap"
    try:
        tree = json.loads(path.read_bytes())
    except OSError as error:
        fix = f"make it readable: chmod u+r {path}"
        raise SettingsError(f"metadata.json cannot be read: {error.strerror}", where=str(path), fix=fix) from None
    except json.JSONDecodeError as error:
        raise SettingsError(
            f"metadata.json is not JSON: {error.msg}", where=f"{path}:{error.lineno}", fix=fix
        ) from None
    except (ValueError, RecursionError):
        raise SettingsError("metadata.json is not JSON in UTF-8", where=str(path), fix=fix) from None
    if not isinstance(tree, dict):
        raise SettingsError(f"metadata.json is a JSON object, not {shown(tree)}", where=str(path), fix=fix)
    return tree


def _check_mode(metadata: dict[str, Any], env: Mapping[str, str], path: Path) -> None:
    mode = metadata.get("dolt_mode") or ""
    if mode == "server" or truth(env.get("BEADS_DOLT_SERVER_MODE", "")):
        return
    # bd takes no mode for embedded; but whoever names a server, here or in the environment, means it.
    names = ("host", "port", "socket")
    if not mode and any(metadata.get(_FIELDS[name]) or env.get(_variable(name)) for name in names):
        return
    said = f"dolt_mode is {shown(mode)}" if mode else "dolt_mode is not set, so bd runs embedded"
    raise SettingsError(f"{said}: dolt_watch needs beads in 'server' mode", where=str(path), fix=SERVER_FIX)


def _variable(name: str) -> str:
    return f"BEADS_DOLT_SERVER_{name.upper()}"


def _part(
    name: str, default: Any, metadata: dict[str, Any], path: Path | None, folder: Path | None, env: Mapping[str, str]
) -> tuple[Any, str]:
    """One part of the address, and where from."""
    if given := env.get(_variable(name)):
        return _checked(name, given, _variable(name), None), _variable(name)
    value = metadata.get(_FIELDS[name])
    if value is not None and value != "" and not (name == "port" and value == 0 and value is not False):
        return _checked(name, value, _FIELDS[name], path), METADATA
    if name == "port" and folder and there(folder / _PORT_FILE):
        file = folder / _PORT_FILE
        try:
            text = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            text = "unreadable"
        return _checked(name, text, _PORT_FILE, file), f".beads/{_PORT_FILE}"
    return default, "default"


def _checked(name: str, value: Any, key: str, path: Path | None) -> Any:
    text = path is None or path.name == _PORT_FILE
    if name == "port":
        if text and value.isascii() and value.isdigit() and len(value) < 6:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
            raise _wrong(path, key, "a port from 1 to 65535", value)
        return value
    if name == "tls":
        word = truth(value)
        if word is None or not (text or isinstance(value, bool)):
            raise _wrong(path, key, "true or false", value)
        return word
    if not isinstance(value, str):
        raise _wrong(path, key, "text", value)
    return value


def _wrong(path: Path | None, key: str, expected: str, value: Any) -> SettingsError:
    fix = f"correct {key} in {path.name}" if path else f"correct {key}, or unset it"
    if key == _FIELDS["port"]:
        fix = "bd dolt set port PORT"
    return SettingsError(f"{key} is {expected}, not {shown(value)}", where=str(path or key), fix=fix)
