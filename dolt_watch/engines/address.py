"""Addresses of databases, as URLs.

There are two forms: ``dolt://user@host:port/database[/branch][?socket=…&tls=…]`` for a Dolt SQL
server, and ``doltlite:///path`` for a file. A URL never contains a password, because URLs appear in
shell histories, process lists and bug reports. A connection to another machine is encrypted and
verified unless the URL turns TLS off.

Drivers are imported only when an engine is opened. Importing sqlglot takes 73 ms, and doltlite
replaces ``sqlite3``. A process that uses a server needs neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dolt_watch.errors import SettingsError

DEFAULT_PORT = 3306
FORMS = "dolt://user@host:port/database[/branch] or doltlite:///path"
PASSWORD_FIX = (
    "Put the password in DOLT_WATCH_PASSWORD or BEADS_DOLT_PASSWORD, or in a file that only you can"
    " read."
)


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A database on a Dolt SQL server."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    user: str = "root"
    password: str = field(default="", repr=False)
    database: str = ""
    """Database as Dolt's USE accepts it: its name, then ``/branch`` unless the branch is the
    default.
    """
    socket: str = ""
    """Path of a Unix socket. The socket takes precedence over host and port."""
    tls: bool | None = None
    """Whether to encrypt and to verify the server's certificate and name.

    None: not specified, so ``uses_tls`` decides by the host.
    """
    ca: str = ""
    """PEM file of the authority that signed the server's certificate. Empty: the system's
    authorities.
    """
    managed: bool = field(default=False, repr=False, compare=False)
    """Whether bd starts this server and writes its port. Selects the fix for a server that is down.
    """

    @property
    def uses_tls(self) -> bool:
        """Return whether to use TLS. The default is TLS unless the connection is a socket or
        loopback.
        """
        return not (self.socket or _is_loopback(self.host)) if self.tls is None else self.tls

    @property
    def display_name(self) -> str:
        """Return host:port/database[/branch] for messages, without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.socket or f'{host}:{self.port}'}/{self.database}"

    @property
    def database_name(self) -> str:
        """Return the name of the database, without the branch."""
        return self.database.partition("/")[0]

    @property
    def url(self) -> str:
        """Return the URL that ``parse_url`` parses into this address, without the password."""
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
    """Return the address that a URL names.

    Raises SettingsError if the URL is not valid. The message never contains the password.
    """
    # Late: bd's own files name a database without a URL.
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(
            f"The text is not a database URL: {error}.", fix=f"Use {FORMS}."
        ) from None
    if parts.password is not None:
        raise SettingsError("A database URL must not contain a password.", fix=PASSWORD_FIX)
    if parts.scheme == "doltlite":
        return _doltlite(parts.netloc, unquote(parts.path))
    if parts.scheme != "dolt":
        raise SettingsError(
            "A database URL begins with dolt:// or doltlite://, not with"
            f" {parts.scheme or 'nothing'}.",
            fix=f"Use {FORMS}.",
        )
    database = unquote(parts.path).strip("/")
    if "/" in database and "@" in parts.path:
        # dolt://u:12/34@h/d: a password with / in it looks like a port and a database.
        raise SettingsError("A database URL must not contain a password.", fix=PASSWORD_FIX)
    if not database:
        raise SettingsError(
            f"The URL names no database after the host: {parts.path or 'nothing'}.",
            fix="Use dolt://user@host:port/database.",
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
            "A DoltLite URL has three slashes and an absolute path.",
            fix="Use doltlite:///folder/file.db.",
        )
    return FileAddress(path)


def _options(query: str) -> tuple[str, bool | None, str]:
    """Return (socket, tls, ca) of ``?socket=…&tls=…``.

    ``tls`` in the URL is true, false, or the PEM file of the authority. A missing ``tls`` becomes
    None.
    """
    # Late: bd's own files name a database without a URL.
    from urllib.parse import parse_qs

    try:
        options = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise SettingsError(
            "The options after ? cannot be read.", fix="Use ?socket=/path and &tls=true."
        ) from None
    # An option that is ignored would hide a mistake, for example plain text instead of TLS.
    unknown = sorted(options.keys() - {"socket", "tls"})
    if unknown:
        raise SettingsError(
            f"A database URL has the options socket and tls, not {unknown[0]}.",
            fix=PASSWORD_FIX if "pass" in unknown[0] else f"Remove {unknown[0]}=… from the URL.",
        )
    socket = options.get("socket", [""])[-1]
    # The default depends on the host, so it isn't decided here.
    if "tls" not in options:
        return socket, None, ""
    tls = options["tls"][-1]
    word = tls.lower()
    if word in {"true", "1", "false", "0"}:
        return socket, word in {"true", "1"}, ""
    if "/" not in tls and not word.endswith((".pem", ".crt")):
        raise SettingsError(
            f"tls must be true, false or the path of a PEM file, but is {tls!r}.",
            fix="Use tls=true or tls=/path/ca.pem.",
        )
    return socket, True, tls
