"""Reasons why a Dolt server can't be reached, each with its fix.

pymysql reports most of them as 2003 or 2013 with the system's text. The causes differ, and so do
the fixes. ``tests/conformance/test_reach.py`` provokes each with pymysql 1.2 and Dolt 1.86.4.
"""

import errno
import socket
import ssl
from typing import NamedTuple

from dolt_watch.engines.address import ServerAddress

TOO_MANY = 1040
HOST_BLOCKED = frozenset({1129, 1130})
_MORE = (
    "Raise max_connections under listener in the server's config.yaml, "
    "or end clients that hold connections (SHOW PROCESSLIST)."
)
_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


class Reach(NamedTuple):
    """One reason, and its fix."""

    message: str
    fix: str


def reason(
    code: int, text: str, cause: BaseException | None, address: ServerAddress, seconds: float
) -> Reach:
    """Return the reason why no connection was made.

    Args:
        code: The error code of pymysql or the server, or 0.
        text: The text of the error.
        cause: The cause of the exception, if any.
        address: The server's address.
        seconds: Timeout of the connection, in seconds.
    """
    at = address.socket or address.display_name.rpartition("/")[0]
    # The server's own refusals have codes.
    if code == TOO_MANY or "too many connections" in text.lower():
        return _full(at)
    if code in HOST_BLOCKED:
        return Reach(
            f"The server at {at} accepts no connection from this machine.",
            f"As an administrator, allow this host: CREATE USER '{address.user}'@'%' …",
        )
    # The system's errors have classes.
    if isinstance(cause, socket.gaierror):
        return Reach(
            f"The host name {address.host} is not known ({cause.strerror or cause}).",
            "Correct the host. `getent hosts NAME` shows whether a name is known.",
        )
    if isinstance(cause, TimeoutError):
        return Reach(
            f"{at} did not accept a connection within {seconds:g} s.",
            "Check the host, the port and the firewalls on the way.",
        )
    if isinstance(cause, ConnectionRefusedError):
        return Reach(f"No server listens at {at}: the connection was refused.", _start(address))
    if (
        isinstance(cause, OSError)
        and address.socket
        and cause.errno in (errno.ENOENT, errno.ENOTSOCK)
    ):
        return Reach(f"The socket {at} doesn't exist.", _start(address))
    if isinstance(cause, OSError) and cause.errno in _ROUTE:
        return Reach(
            f"There is no route to {at} ({cause.strerror}).", "Check the host and the network."
        )
    if isinstance(cause, ssl.SSLError):
        return Reach(
            f"TLS with {at} failed ({text}).",
            "Check the server's tls_cert and tls_key. ?tls=false in the URL allows plain text.",
        )
    # A server of another protocol sends bytes that pymysql can't parse.
    if "timed out" in text:
        return Reach(
            f"{at} accepted the connection, but sent nothing for {seconds:g} s. It isn't a Dolt"
            " server, or all its connections are in use.",
            f"Check the port. {_MORE}",
        )
    if not code or code not in (2003, 2013):
        return Reach(
            f"{at} doesn't speak the MySQL protocol ({text}).",
            "Specify the port of `dolt sql-server`.",
        )
    if code == 2013 or isinstance(cause, ConnectionError):
        return Reach(
            f"{at} closed the connection at once. All its connections are in use, it is"
            " stopping, or it isn't a Dolt server.",
            f"Check the port. {_MORE}",
        )
    return Reach(f"{at} can't be reached ({text}).", _start(address))


def _full(at: str) -> Reach:
    return Reach(
        f"The server at {at} has no free connection (too many connections).",
        _MORE,
    )


def _start(address: ServerAddress) -> str:
    if address.socket:
        return f"Start it: dolt sql-server --socket {address.socket}"
    if address.managed:
        return "Run `bd dolt start`: it starts bd's own server and writes .beads/dolt-server.port."
    return (
        f"In its data folder, run `dolt sql-server --host {address.host} --port {address.port}`, or"
        " correct the host and the port."
    )
