"""The errors of a Dolt server, as errors of dolt_watch.

Dolt raises most of its own errors under MySQL's catch-all 1105, so the text decides there. Texts
are those of Dolt 1.86.4 and 2.3.1, each provoked on a real server by ``tests/conformance``.
"""

from __future__ import annotations

import re

from dolt_watch.engines.address import PASSWORD_FIX, ServerAddress
from dolt_watch.errors import (
    AccessDenied,
    BeadNotFound,
    BranchDenied,
    Conflict,
    DatabaseError,
    DoltWatchError,
    MergeInProgress,
    NoSuchDatabase,
    NoSuchTable,
    NothingToCommit,
    OlderDolt,
    ReadOnly,
    SchemaChanged,
    ServerPanic,
    UnknownCommit,
    Unreachable,
)

LOST = frozenset({0, 1053, 1927, 2006, 2013, 2055})
"""Codes of a lost connection; another connection may work. 0 is pymysql's own, for a closed
socket.
"""

UNREACHABLE = LOST | {1040, 1129, 1130, 2002, 2003, 2005, 2012, 2014, 2026}
LOGIN = frozenset({1044, 1045, 1698})
PRIVILEGE = frozenset({1142, 1143, 1227, 1370})

_TEXTS: tuple[tuple[str, type[DoltWatchError]], ...] = (
    (r"foreign key constraint violation.*referencedtable: issues\b", BeadNotFound),
    (r"the table\(s\) .* (are in conflict|have constraint violations)", MergeInProgress),
    (r"table has unknown fields", OlderDolt),
    (r"constraint violations", Conflict),
    (r"optimistic lock failed", Conflict),
    (r"nothing to commit", NothingToCommit),
    (r"target commit not found|shallow clone|ghost commit", UnknownCommit),
    (r"(branch|ref|commit|hash) not found", UnknownCommit),
    (r"invalid ref spec|could not resolve|no such commit", UnknownCommit),
    (r"does not have the correct permissions on branch", BranchDenied),
    (r"command denied|access denied", AccessDenied),
    (r"read.only", ReadOnly),
    (r'column "[^"]+" could not be found', SchemaChanged),
    (r'table "[^"]+" does not have column', SchemaChanged),
    (r"too many connections|server shutdown", Unreachable),
    (r"panic", ServerPanic),
)
"""Texts of code 1105. The first match counts."""

_TABLE = (
    r"table not found: (?:\w+\.)?(\w+)|Table '(?:\w+\.)?(\w+)'|the table\(s\) (\w+)[\w, ]* do not"
    r" exist"
)
_ISSUES = r"referenced table: `?issues`?"
# Compiled at the first error: most processes have none.


def missing_table(text: str) -> str | None:
    """Return the table that a message reports as missing; for ``dolt_diff_issues``, ``issues``."""
    found = re.search(_TABLE, text)
    table = next((group for group in found.groups() if group), "") if found else ""
    return table.removeprefix("dolt_diff_") or None


def error_class(code: int, text: str) -> type[DoltWatchError]:
    """Return the class of error of a code and its text."""
    if code in {1213, 1062}:
        return Conflict
    if code == 1452:
        return BeadNotFound if re.search(_ISSUES, text, re.IGNORECASE) else DatabaseError
    if code == 1146 or (code == 1105 and missing_table(text)):
        return NoSuchTable
    if code in {1049, 1046}:
        return NoSuchDatabase
    if code in {1290, 1836}:
        return ReadOnly
    if code in LOGIN | PRIVILEGE:
        return AccessDenied
    if code in UNREACHABLE:
        return Unreachable
    if code == 1105:
        return next(
            (kind for rule, kind in _TEXTS if re.search(rule, text, re.IGNORECASE | re.DOTALL)),
            DatabaseError,
        )
    return SchemaChanged if code == 1054 else DatabaseError


def translate(code: int, text: str, address: ServerAddress) -> DoltWatchError:
    """Return an error of the server or the driver as a DoltWatchError with its fix.

    A password in the text is removed.
    """
    if address.password:
        text = text.replace(address.password, "***")
    kind = error_class(code, text)
    if (wrong := _tls(text, address)) is not None and kind is Unreachable:
        return Unreachable(wrong[0], where=address.display_name, fix=wrong[1])
    if kind is NoSuchTable:
        return NoSuchTable(
            missing_table(text) or "?", where=address.display_name, fix="Run `dolt_watch doctor`."
        )
    detail = (text or "the connection is closed").split("\n")[0][
        :300
    ]  # Dolt may add a stack of Go routines
    detail = f"{code}: {detail}" if code else detail
    return kind(
        f"{_summary(kind)} ({detail}).",
        where=address.display_name,
        fix=_fix(kind, code, text, address),
    )


def _tls(text: str, address: ServerAddress) -> tuple[str, str] | None:
    """Return the TLS error and its fix, or None. pymysql reports a rejected certificate as 2003."""
    if not address.uses_tls:
        return None
    # pymysql's text, because it has no code for this.
    if "SSL is required" in text:
        why = (
            ""
            if address.tls
            else (
                f", and {address.host} is another machine: connections to other machines are"
                " encrypted unless you allow plain text"
            )
        )
        return (
            f"The server doesn't support TLS{why}.",
            (
                "Give the server a certificate (tls_cert and tls_key under listener in its"
                " config.yaml). Or allow plain text: BEADS_DOLT_SERVER_TLS=false, or"
                ' "dolt_server_tls": false in .beads/metadata.json, or ?tls=false in the URL.'
            ),
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return (
            f"The server's certificate isn't trusted ({text.split(chr(10))[0][:300]}).",
            (
                "Specify the authority that signed it: ?tls=/path/ca.pem in the URL, or"
                " SSL_CERT_FILE=/path/ca.pem. The certificate must contain the host's name."
            ),
        )
    return None


def is_tls(text: str, address: ServerAddress) -> bool:
    """Return whether the text reports a TLS failure."""
    return _tls(text, address) is not None


def _summary(kind: type[DoltWatchError]) -> str:
    return (kind.__doc__ or "").strip().split("\n")[0].rstrip(".")


def _fix(kind: type[DoltWatchError], code: int, text: str, address: ServerAddress) -> str | None:
    client = f"dolt --host {address.host} --port {address.port} --user {address.user} sql -q"
    # The way to start the server depends on its owner: bd, or the user.
    if kind is Unreachable:
        if address.socket:
            return f"Start it: dolt sql-server --socket {address.socket}"
        if address.managed:
            return (
                "Run `bd dolt start`: it starts bd's own server and writes .beads/dolt-server.port."
            )
        return (
            f"In its data folder, run `dolt sql-server --host {address.host} --port"
            f" {address.port}`, or correct the host and the port."
        )
    if kind is BranchDenied:
        return _branch_fix(text, address)
    if kind is ReadOnly:
        return (
            "Specify the primary server. Replicas, and servers with read_only in config.yaml, are"
            " read-only."
        )
    # A wrong password and a missing privilege have different fixes.
    if kind is AccessDenied:
        if code in LOGIN:
            return PASSWORD_FIX
        if "to database" in text:
            return (
                f"As an administrator: GRANT SELECT ON `{address.database_name}`.* TO"
                f" '{address.user}'@'%'"
            )
        return f"As an administrator, check the grants: SHOW GRANTS FOR '{address.user}'@'%'"
    if kind is NoSuchDatabase:
        if "/" in address.database:
            return (
                "Specify one of the branches that"
                f' {client} "SELECT name FROM {address.database_name}.dolt_branches" lists.'
            )
        return f'Specify one of the databases that {client} "SHOW DATABASES" lists.'
    if kind is OlderDolt:
        return (
            "Run the server with the release of Dolt that wrote the data, or a newer one."
            " Dolt 1 can't read data that Dolt 2 wrote."
        )
    if kind is SchemaChanged:
        return "Use a column of issues. bd's schema may have changed."
    return None


def _branch_fix(text: str, address: ServerAddress) -> str:
    """Return the row of ``dolt_branch_control`` that lets the user write. Longer matches win."""
    found = re.search(r"`([^`]*)`@`[^`]*` does not have .* on branch `([^`]*)`", text)
    user, branch = found.groups() if found else (address.user, "%")
    values = ", ".join(
        "'" + each.replace("'", "''") + "'"
        for each in (address.database_name, branch, user, "%", "write")
    )
    return f"As an administrator: REPLACE INTO dolt_branch_control VALUES ({values})"
