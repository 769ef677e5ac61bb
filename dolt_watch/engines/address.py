"""Where a database is, and which engine opens it.

Two forms of URL: ``dolt://user@host:port/database[/branch][?socket=…&tls=…]`` for a Dolt SQL
server, ``doltlite:///path`` for a file. A password is never part of a URL: URLs end up in shell
histories, process lists and bug reports. Off loopback a connection is encrypted and verified
unless somebody says otherwise. Drivers are imported only when an engine is opened: sqlglot costs
73 ms and doltlite changes what ``sqlite3`` means, and neither is wanted by a process that talks
to a server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dolt_watch.errors import SettingsError

if TYPE_CHECKING:
    pass


DEFAULT_PORT = 3306
FORMS = "dolt://user@host:port/database[/branch] or doltlite:///path"
PASSWORD_FIX = (
    "put the password in DOLT_WATCH_PASSWORD or BEADS_DOLT_PASSWORD, or in a file that only you can"
    " read"
)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A database on a Dolt SQL server."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    user: str = "root"
    password: str = field(default="", repr=False)
    database: str = ""
    """As Dolt accepts it in USE: its name, and ``/branch`` if it is not the default branch."""
    socket: str = ""
    """Path of a Unix socket; it goes before host and port."""
    tls: bool | None = None
    """Encrypt, and verify the server's certificate and name.

    None: nobody said, so ``encrypted`` goes by where the server is.
    """
    ca: str = ""
    """PEM file of the authority that signed the server's certificate; '': the system's."""
    managed: bool = field(default=False, repr=False, compare=False)
    """bd starts this server itself and writes its port: what to do if it does not answer."""

    @property
    def uses_tls(self) -> bool:
        """Plain only where it was asked for, or where nothing leaves this machine."""
        return not (self.socket or _is_loopback(self.host)) if self.tls is None else self.tls

    @property
    def display_name(self) -> str:
        """For messages: host:port/database[/branch], never the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.socket or f'{host}:{self.port}'}/{self.database}"

    @property
    def database_name(self) -> str:
        """The name of the database, without the branch."""
        return self.database.partition("/")[0]

    @property
    def url(self) -> str:
        """The URL that ``parse_url`` reads back, without the password."""
        # Late: bd's own files name a database without a URL.
        from urllib.parse import quote

        host = f"[{self.host}]" if ":" in self.host else self.host
        tls = (
            quote(self.ca, safe="")
            if self.ca
            else ""
            if self.tls is None
            else str(self.tls).lower()
        )
        query = [f"socket={quote(self.socket, safe='')}"] if self.socket else []
        query += [f"tls={tls}"] if tls else []
        tail = "?" + "&".join(query) if query else ""
        user, database = quote(self.user, safe=""), quote(self.database, safe="/")
        return f"dolt://{user}@{host}:{self.port}/{database}{tail}"


def _is_loopback(host: str) -> bool:
    return (
        host.lower() in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
    )


@dataclass(frozen=True, slots=True)
class FileAddress:
    """A DoltLite file."""

    path: str

    @property
    def display_name(self) -> str:
        return self.path

    @property
    def url(self) -> str:
        # Late: bd's own files name a database without a URL.
        from urllib.parse import quote

        return f"doltlite://{quote(self.path)}"


def parse_url(url: str) -> ServerAddress | FileAddress:
    """Raises SettingsError, which says what was expected; its message never repeats a password."""
    from urllib.parse import unquote, urlsplit  # what beads' own files name needs none of it

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"not a database URL: {error}", fix=f"write {FORMS}") from None
    if parts.password is not None:
        raise SettingsError("a database URL must not hold a password", fix=PASSWORD_FIX)
    if parts.scheme == "doltlite":
        return _doltlite(parts.netloc, unquote(parts.path))
    if parts.scheme != "dolt":
        raise SettingsError(
            "a database URL begins with dolt:// or doltlite://, not with"
            f" {parts.scheme or 'nothing'}",
            fix=f"write {FORMS}",
        )
    database = unquote(parts.path).strip("/")
    if "/" in database and "@" in parts.path:
        # dolt://u:12/34@h/d: a password with / in it looks like a port and a database.
        raise SettingsError("a database URL must not hold a password", fix=PASSWORD_FIX)
    if not database:
        raise SettingsError(
            f"the URL names no database after the host: {parts.path or 'nothing'}",
            fix="write dolt://user@host:port/database",
        )
    socket, tls, ca = _options(parts.query)
    return ServerAddress(
        host=parts.hostname or "127.0.0.1",
        port=DEFAULT_PORT if port is None else port,
        user=unquote(parts.username or "root"),
        database=database,
        socket=socket,
        tls=tls,
        ca=ca,
    )


def _doltlite(netloc: str, path: str) -> FileAddress:
    if netloc or not path.strip("/"):
        raise SettingsError(
            "a DoltLite URL has three slashes and an absolute path",
            fix="write doltlite:///folder/file.db",
        )
    return FileAddress(path)


def _options(query: str) -> tuple[str, bool | None, str]:
    """socket, tls, ca of ``?socket=…&tls=…``; tls is true, false, or the authority's PEM file;
    None where nothing is said.
    """
    # Late: bd's own files name a database without a URL.
    from urllib.parse import parse_qs

    try:
        options = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise SettingsError(
            "the part after ? cannot be read", fix="write ?socket=/path and &tls=true"
        ) from None
    unknown = sorted(options.keys() - {"socket", "tls"})
    if unknown:
        raise SettingsError(
            f"a database URL knows the options socket and tls, not {unknown[0]}",
            fix=PASSWORD_FIX if "pass" in unknown[0] else f"take {unknown[0]}=… out of the URL",
        )
    socket = options.get("socket", [""])[-1]
    if "tls" not in options:
        return socket, None, ""
    tls = options["tls"][-1]
    word = tls.lower()
    if word in {"true", "1", "false", "0"}:
        return socket, word in {"true", "1"}, ""
    if "/" not in tls and not word.endswith((".pem", ".crt")):
        raise SettingsError(
            f"tls is true, false or the path of a PEM file, not {tls!r}",
            fix="write tls=true or tls=/path/ca.pem",
        )
    return socket, True, tls
