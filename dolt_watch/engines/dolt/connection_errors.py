"""Why a Dolt server cannot be reached: what each way of failing to connect means, and its fix.

pymysql reports all of them as 2003 or 2013 with a system's text; the causes differ, and so do the
fixes. Texts and codes are those of pymysql 1.2 and Dolt 1.86.4, each provoked by
``tests/conformance/test_reach.py``.
"""

from __future__ import annotations

import errno
import socket
import ssl
from typing import NamedTuple

from dolt_watch.engines.address import ServerAddress

TOO_MANY = 1040
HOST_BLOCKED = frozenset({1129, 1130})
_MORE = (
    "raise max_connections under listener in the server's config.yaml, "
    "or end clients that hold connections (SHOW PROCESSLIST)"
)
_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


class Reach(NamedTuple):
    """Words for one failure."""

    says: str
    fix: str


def reason(
    code: int, text: str, cause: BaseException | None, address: ServerAddress, seconds: float
) -> Reach:
    """Return why no connection was made.

    Args:
        code: pymysql's or the server's number, 0 for none.
        text: Its text.
        cause: The exception below it, if any.
        address: Of the server.
        seconds: Limit for connecting.
    """
    at = address.socket or address.display_name.rpartition("/")[0]
    if code == TOO_MANY or "too many connections" in text.lower():
        return _full(at)
    if code in HOST_BLOCKED:
        return Reach(
            f"the server at {at} accepts no connection from this machine",
            f"as an administrator, allow this host: CREATE USER '{address.user}'@'%' …",
        )
    if isinstance(cause, socket.gaierror):
        return Reach(
            f"the host name {address.host} is not known ({cause.strerror or cause})",
            "correct the host; `getent hosts NAME` shows whether a name is known",
        )
    if isinstance(cause, TimeoutError):
        return Reach(
            f"{at} did not accept a connection in {seconds:g} s",
            "check host and port, and whether a firewall lies between: nothing there answers",
        )
    if isinstance(cause, ConnectionRefusedError):
        return Reach(f"nothing listens at {at}: the connection was refused", _start(address))
    if (
        isinstance(cause, OSError)
        and address.socket
        and cause.errno in (errno.ENOENT, errno.ENOTSOCK)
    ):
        return Reach(f"there is no socket {at}", _start(address))
    if isinstance(cause, OSError) and cause.errno in _ROUTE:
        return Reach(f"there is no route to {at} ({cause.strerror})", "check host and network")
    if isinstance(cause, ssl.SSLError):
        return Reach(
            f"{at} and this machine agreed on no TLS ({text})",
            "check the server's tls_cert and tls_key; ?tls=false in the URL allows plain text",
        )
    if "timed out" in text:
        return Reach(
            f"{at} accepted a connection and said nothing for {seconds:g} s: it is not a Dolt"
            " server, or its connections are used up",
            f"check the port; {_MORE}",
        )
    if not code or code not in (2003, 2013):
        return Reach(
            f"{at} does not speak MySQL's protocol ({text})",
            "check the port: it must be that of `dolt sql-server`",
        )
    if code == 2013 or isinstance(cause, ConnectionError):
        return Reach(
            f"{at} closed the connection at once: its connections are used up, it is stopping, or"
            " it is not a Dolt server",
            f"check the port; {_MORE}",
        )
    return Reach(f"{at} cannot be reached ({text})", _start(address))


def _full(at: str) -> Reach:
    return Reach(
        f"the server at {at} has no free connection (too many connections)",
        _MORE,
    )


def _start(address: ServerAddress) -> str:
    if address.socket:
        return f"dolt sql-server --socket {address.socket}"
    if address.managed:
        return (
            "`bd dolt start` starts bd's own server and writes its port to .beads/dolt-server.port"
        )
    return (
        f"dolt sql-server --host {address.host} --port {address.port} (in its data folder), or"
        " correct host and port"
    )
