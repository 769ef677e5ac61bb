"""Find the database as bd does: by the ``.beads`` folder, bd's files and bd's variables.

The order of precedence is that of bd's source at commit fbcee6c62 (June 2026). It is the table in
``docs/connection.md``, and ``tests/unit/config/test_setting_origins.py`` tests each source. bd
1.0.2 doesn't support ``dolt.host`` and ``dolt.mode`` in config.yaml, or ``dolt_server_socket``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dolt_watch.config import beads_folder
from dolt_watch.config.converters import (
    RawValue,
    check_utf8,
    exists,
    expand,
    format_raw,
    parse_bool,
)
from dolt_watch.engines.address import ServerAddress
from dolt_watch.errors import SettingsError

if TYPE_CHECKING:
    from dolt_watch.config.beads_yaml import Entry

DATABASE_FIX = (
    "Run the command in a folder with .beads/ (`bd init --server` creates it), or set"
    " DOLT_WATCH_DATABASE=dolt://user@host:port/database."
)
SHARED_PORT = 3308
"""bd's default port for the server that all projects of a user share."""
_PORT_FILE = "dolt-server.port"
_SHARED = ".beads/shared-server"
# bd's own defaults.
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
    """The database that bd uses."""

    address: ServerAddress
    """Address without the password."""
    project_id: str | None
    """Project ID in metadata.json."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """'database.host' and so on → source of the value."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The environment, with the variables that ``.beads/.env`` adds."""


def discover_connection(env: Mapping[str, str], cwd: Path) -> Connection:
    """Return the database that bd would use in ``cwd``.

    Raises:
        SettingsError: There is no database, a file is unusable, or bd uses no server.
    """
    return _Places(env, cwd).connection()


class _Places:
    """The sources of one connection, each read at most once."""

    def __init__(self, env: Mapping[str, str], cwd: Path) -> None:
        self.cwd = cwd
        self.found = beads_folder.find(env, cwd)
        self.folder = self.found.folder
        self.env: dict[str, str] = dict(env)
        self.names: dict[str, tuple[str, str]] = {}
        """Variable in ``.beads/.env`` → its origin, and its place for errors."""
        self._read_env_file()
        path = self.folder / "metadata.json" if self.folder else None
        self.path = path if path is not None and exists(path) else None
        self.metadata = _read(self.path) if self.path else {}

    def connection(self) -> Connection:
        """Return the connection. Raises SettingsError, as ``discover_connection`` does."""
        if self.path is None and not self.env.get(_variable("database")):
            raise self._nothing()
        shared = self._shared()
        if self.path:
            self._check_mode(shared)
        parts: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for name, default in _DEFAULTS.items():
            given = next(self._given(name, shared), None)
            parts[name] = default if given is None else _checked(name, given)
            origins[f"database.{name}"] = "default" if given is None else given.origin
        if shared and origins["database.port"] == "default":
            parts["port"] = SHARED_PORT
        project = self.metadata.get("project_id") or None
        if project is not None:
            given = RawValue(("project_id",), project, ".beads/metadata.json", str(self.path))
            project = _checked("project_id", given)
        origins["project_id"] = self._label(self.path) if project and self.path else "default"
        # Without a configured port, bd starts its own server and writes the port file.
        own = origins["database.port"] == "default" or origins["database.port"].endswith(_PORT_FILE)
        address = ServerAddress(**parts, managed=own)
        return Connection(address, project, origins, self.env)

    def _read_env_file(self) -> None:
        """Add the variables in ``.beads/.env`` that aren't set, as bd does."""
        if self.folder is None or not exists(self.folder / beads_folder.ENV_FILE):
            return
        from dolt_watch.config import dotenv  # Late: few trackers have this file.

        path = self.folder / beads_folder.ENV_FILE
        for name, entry in dotenv.read(path).items():
            if name.startswith(("BEADS_", "BD_")) and name not in self.env:
                self.env[name] = entry.value.strip()
                self.names[name] = (f"{self._label(path)}:{entry.line}", f"{path}:{entry.line}")

    def _given(self, name: str, shared: bool) -> Iterator[RawValue]:
        """Yield the values of one part of the address, the one with precedence first."""
        yield from self._variable(_variable(name))
        if name == "port":
            yield from self._variable("BEADS_DOLT_PORT")
            yield from self._port_file(shared)
            yield from self._config(name)
            if shared:
                return  # The project's own port is the port of its own server.
        if name == "database" and self.found.source is not None:
            source = self.found.source / "metadata.json"
            if exists(source):
                yield from self._metadata(name, source, _read(source))
        if self.path:
            yield from self._metadata(name, self.path, self.metadata)
        if name == "host":
            yield from self._config(name)

    def _variable(self, name: str) -> Iterator[RawValue]:
        if value := self.env.get(name):
            origin, where = self.names.get(name, (name, name))
            yield RawValue((name,), value, origin, where)

    def _metadata(self, name: str, path: Path, metadata: Mapping[str, Any]) -> Iterator[RawValue]:
        value, key = metadata.get(_FIELDS[name]), _FIELDS[name]
        unset = name == "port" and value == 0 and value is not False
        if value is not None and value != "" and not unset:
            yield RawValue((key,), value, self._label(path), str(path), typed=True)

    def _port_file(self, shared: bool) -> Iterator[RawValue]:
        folder = self._shared_folder() if shared else self.folder
        if folder is None or not exists(folder / _PORT_FILE):
            return
        file = folder / _PORT_FILE
        try:
            text = file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            text = "unreadable"
        yield RawValue((_PORT_FILE,), text, self._label(file), str(file))

    def _config(self, name: str) -> Iterator[RawValue]:
        """Yield ``dolt.NAME`` from the variable BD_DOLT_NAME and from bd's config files."""
        yield from self._variable(f"BD_DOLT_{name.upper().replace('-', '_')}")
        found = [(path, entries[name]) for path, entries in self._config_files if name in entries]
        for path, entry in sorted(found, key=lambda each: not each[1].flat):
            origin, where = f"{self._label(path)}:{entry.line}", f"{path}:{entry.line}"
            yield RawValue(("dolt", name), entry.value, origin, where)

    @cached_property
    def _config_files(self) -> list[tuple[Path, Mapping[str, Entry]]]:
        """The config files that exist. The first file that contains a key wins."""
        from dolt_watch.config import beads_yaml  # Late: few trackers need these files.

        paths: list[Path] = []
        if self.folder and exists(self.folder / "config.yaml"):
            paths += [self.folder / "config.local.yaml", self.folder / "config.yaml"]
        home, xdg = self.env.get("HOME"), self.env.get("XDG_CONFIG_HOME")
        folders = (home and f"{home}/.config/bd", xdg and f"{xdg}/bd", home and f"{home}/.beads")
        paths += [Path(folder, "config.yaml") for folder in folders if folder]
        return [(path, beads_yaml.read(path)) for path in dict.fromkeys(paths) if exists(path)]

    def _shared(self) -> bool:
        """Return whether bd uses the server that all projects of the user share."""
        if parse_bool(self.env.get("BEADS_DOLT_SHARED_SERVER", "")):
            return True
        given = next(self._config("shared-server"), None)
        return bool(given and _checked("shared-server", given))

    def _shared_folder(self) -> Path | None:
        if named := self.env.get("BEADS_SHARED_SERVER_DIR"):
            return self.cwd / expand(named, "BEADS_SHARED_SERVER_DIR")
        home = self.env.get("HOME")
        return Path(home) / _SHARED if home else None

    def _check_mode(self, shared: bool) -> None:
        """Raise SettingsError if bd uses no server."""
        if shared or parse_bool(self.env.get("BEADS_DOLT_SERVER_MODE", "")):
            return
        mode = self.metadata.get("dolt_mode") or ""
        if mode == "" and (given := next(self._config("mode"), None)):
            mode = given.value
        if isinstance(mode, str) and mode.lower() == "server":
            return
        # bd treats a missing mode as embedded. But if a server is named, in the file or in the
        # environment, the user means server mode.
        names = ("host", "port", "socket")
        in_file = any(self.metadata.get(_FIELDS[name]) for name in names)
        variables = (*map(_variable, names), "BEADS_DOLT_PORT")
        if not mode and (in_file or any(map(self.env.get, variables))):
            return
        assert self.path is not None
        found = "dolt_mode is not set, so bd uses an embedded database"
        if mode:
            found = f"dolt_mode is {format_raw(mode)}"
        url = "DOLT_WATCH_DATABASE=dolt://user@host:port/database"
        proxied = isinstance(mode, str) and mode.lower() == "proxied-server"
        raise SettingsError(
            f"{found}. dolt_watch requires the mode 'server'.",
            where=str(self.path),
            fix=f"Name the server behind bd's proxy: set {url}." if proxied else self._to_server(),
        )

    def _to_server(self) -> str:
        """Return the commands that move an embedded tracker to server mode and keep its history.

        bd has no such command: it refuses ``bd dolt set`` in embedded mode (bd 1.0.2). A test runs
        the commands on a real Dolt. They keep the embedded data as a backup.
        """
        assert self.folder is not None
        name = self.metadata.get("dolt_database")
        name = name if isinstance(name, str) and name else _DEFAULTS["database"]
        steps = [
            f"cd {shlex.quote(str(self.folder))}",
            f"test ! -e {shlex.quote(f'dolt/{name}')}",
            "mkdir -p dolt",
            f"cp -a {shlex.quote(f'embeddeddolt/{name}')} dolt/",
            _SET_MODE if self.metadata.get("dolt_mode") else _ADD_MODE,
            "bd dolt start",
        ]
        if not (self.folder / "embeddeddolt" / name).is_dir():
            steps.insert(1, "bd bootstrap")
        return f"{' && '.join(steps)}  # while no other bd runs"

    def _nothing(self) -> SettingsError:
        if self.found.broken is not None:
            file = self.found.broken
            lacks = f"{beads_folder.FOLDER}/{beads_folder.REDIRECT} doesn't name a folder"
            fix = f"Write the path of the other .beads/ to the file, or delete it: `rm {file}`."
            return SettingsError(f"No database is set: {lacks}.", where=str(file), fix=fix)
        lacks = "there is no .beads/ in this folder or a folder above it"
        if self.folder:
            lacks = f"{self.folder} has no metadata.json"
        return SettingsError(f"No database is set: {lacks}.", where=str(self.cwd), fix=DATABASE_FIX)

    def _label(self, path: Path) -> str:
        """Return a short name of a file, such as '.beads/metadata.json'."""
        here = self.folder is not None and self.cwd.resolve().is_relative_to(self.folder.parent)
        own = path.parent == self.folder and not self.found.source
        if own and (here or "BEADS_DIR" in self.env):
            return f"{beads_folder.FOLDER}/{path.name}"
        home = self.env.get("HOME")
        if home and path.is_relative_to(home):
            return f"~/{path.relative_to(home)}"
        return str(path)


_SET_MODE = """sed -i.embedded 's/"dolt_mode": *"[^"]*"/"dolt_mode": "server"/' metadata.json"""
_ADD_MODE = """sed -i.embedded '1s/{/{"dolt_mode": "server",/' metadata.json"""


def _read(path: Path) -> dict[str, Any]:
    import json  # Late: a tick with DOLT_WATCH_DATABASE reads no metadata.json.

    where = str(path)
    fix = "Restore the file: `git checkout .beads/metadata.json`, or `bd bootstrap`."
    try:
        tree = json.loads(path.read_bytes())
    except OSError as error:
        problem = f"Can't read metadata.json: {error.strerror}."
        fix = f"Make the file readable: `chmod u+r {path}`."
    except json.JSONDecodeError as error:
        problem, where = f"metadata.json is not JSON: {error.msg}.", f"{path}:{error.lineno}"
    except (ValueError, RecursionError):
        problem = "metadata.json is not JSON in UTF-8."
    else:
        if isinstance(tree, dict):
            return tree
        problem = f"metadata.json must be a JSON object, but is {format_raw(tree)}."
    raise SettingsError(problem, where=where, fix=fix)


def _variable(name: str) -> str:
    return f"BEADS_DOLT_SERVER_{name.upper()}"


def _checked(name: str, given: RawValue) -> Any:
    value = given.value
    if name == "port":
        if not given.typed and value.isascii() and value.isdigit() and len(value) < 6:
            value = int(value)
        if type(value) is not int or not 0 < value < 65536:
            raise _wrong(given, "a port from 1 to 65535")
    elif name in ("tls", "shared-server"):
        value = parse_bool(value)
        if value is None or (given.typed and not isinstance(given.value, bool)):
            raise _wrong(given, "true or false")
    elif not isinstance(value, str):
        raise _wrong(given, "text")
    else:
        check_utf8(given, value)
    return value


def _wrong(given: RawValue, expected: str) -> SettingsError:
    fix = f"Correct {given.key}, or unset it."
    if given.origin != given.key:
        fix = f"Correct {given.key} in {given.where.rpartition('/')[2].partition(':')[0]}."
    if given.key == _FIELDS["port"]:
        fix = "Run `bd dolt set port PORT`."
    elif given.key == _PORT_FILE:
        fix = "Run `bd dolt start`, which writes the file again."
    return given.type_error(expected, fix)
