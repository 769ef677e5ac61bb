"""One HTTP exchange with limits on time and size, and a reliable statement whether anything was
sent.

DO distinguish 'nothing was sent' from 'unknown': only the first may be tried again. DON'T raise:
every result is an ``HttpResult``. Each exchange has its own connection. A server may close a kept
connection at the moment when it is used again, and the outcome of a POST that is lost that way
would be unknown.
"""

from __future__ import annotations

import errno
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import orjson

from dolt_watch.sanitize import sanitize

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    import httpx

CONNECT_TIMEOUT = 5.0
"""Seconds for name resolution, connection and TLS handshake."""
MAX_BODY = 64 * 1024
"""Bytes of an answer that are read. No known service sends more."""
SHORTEST_SECRET = 6
"""Credentials with fewer characters are not hidden in answers. Hiding every 'a' would make the
answer unreadable.
"""


class TransportFailure(StrEnum):
    """The reason why there is no complete answer."""

    REFUSED = "refused"
    """The connection was refused. Nothing was sent."""
    NOT_SENT = "not-sent"
    """There was no connection (name, route, TLS, time). Nothing was sent."""
    IMPOSSIBLE = "impossible"
    """Such a request can't be made. Nothing was sent."""
    BROKEN = "broken"
    """The connection broke after sending may have begun."""
    TIMEOUT = "timeout"
    """No complete answer came in time, after sending may have begun."""
    OVERSIZED = "oversized"
    """The answer is larger than ``MAX_BODY``."""


NOTHING_SENT = frozenset(
    {TransportFailure.REFUSED, TransportFailure.NOT_SENT, TransportFailure.IMPOSSIBLE}
)
AWAY = frozenset(TransportFailure) - {TransportFailure.IMPOSSIBLE, TransportFailure.OVERSIZED}
"""The server can't be reached or doesn't answer. The request is not at fault."""


@dataclass(frozen=True, slots=True)
class HttpResult:
    """The result of one request: a complete answer, or the failure and its reason."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    failure: TransportFailure | None = None
    reason: str = ""
    """The failure as text. It is safe to print and contains no secret."""
    at: float = 0.0
    """Seconds since 1970 on this machine at the end of the exchange. Used to interpret a
    ``Retry-After`` date if the answer has no ``Date``.
    """

    @property
    def text(self) -> str:
        """Return the body as text, whatever bytes it contains."""
        return self.body.decode("utf-8", "replace")

    @property
    def summary(self) -> str:
        """Return 'HTTP <code>: <body>', as notes show it. Without an answer, return the reason."""
        if self.failure is not None:
            return self.reason
        return f"HTTP {self.status}: {sanitize(self.text.rstrip())}".rstrip()

    def json_field(self, *path: str) -> Any:
        """Return the value at a path of keys in a JSON body. None if it has no such value."""
        try:
            found = orjson.loads(self.body)
        except ValueError:
            return None
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found


class HttpClient:
    """A client of one server. Call ``close`` after use."""

    def __init__(
        self, url: str, secrets: Sequence[str] = (), *, ca_file: Path | None = None
    ) -> None:
        """Create the client. Nothing is connected yet.

        Args:
            url: Base URL. It may contain credentials.
            secrets: Further texts that must not appear in a note if an answer contains them.
            ca_file: File of the only accepted certificate authority. None: those of the system.
        """
        parts = urlsplit(url)
        self.base = url.rstrip("/")
        self.secure = parts.scheme == "https"
        # The server as text. The URL itself may contain a password.
        self.place = f"{parts.hostname}:{parts.port or (443 if self.secure else 80)}"
        # As in the URL and as sent. A name without a password is a token.
        secret = parts.password or parts.username or ""
        self._secrets = (secret, unquote(secret), *secrets)
        self._ca_file = ca_file
        self._client: httpx.Client | None = None

    def exchange(
        self,
        method: str,
        path: str,
        *,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        max_body: int = MAX_BODY,
    ) -> HttpResult:
        """Send one request. Redirects are answers and are not followed.

        Args:
            method: The HTTP method.
            path: Path below the base URL.
            timeout: Seconds for the whole exchange, including the connection.
            headers: Headers to send.
            body: Body to send.
            max_body: Bytes of the answer. A larger one is ``TransportFailure.OVERSIZED``.
        """
        watch = _Deadline(timeout)
        try:
            request = self._request(watch, method, path, headers or {}, body)
            watch.start()
            return self._receive(watch, request, max_body)
        except Exception as error:
            return self._failed(error, watch)
        finally:
            watch.stop()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _request(
        self,
        watch: _Deadline,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> httpx.Request:
        httpx = _httpx()
        if self._client is None:
            # http:// needs no certificates, and reading them takes 20 ms. https:// is always
            # verified, with SSL_CERT_FILE if it is set.
            own, system = self._ca_file, httpx.create_ssl_context
            self._client = httpx.Client(
                verify=(ca_context(own) if own else system()) if self.secure else False,
                trust_env=False,
                follow_redirects=False,
                limits=httpx.Limits(max_keepalive_connections=0),
                headers={"accept-encoding": "identity", "user-agent": "dolt-watch"},
            )
        return self._client.build_request(
            method,
            self.base + path,
            headers=dict(headers),
            content=body,
            timeout=httpx.Timeout(watch.timeout, connect=min(CONNECT_TIMEOUT, watch.timeout)),
            extensions={"trace": watch.trace},
        )

    def _receive(self, watch: _Deadline, request: httpx.Request, max_body: int) -> HttpResult:
        assert self._client is not None
        response = self._client.send(request, stream=True)
        with closing(response):
            received = bytearray()
            # Raw, so that a compressed body of gigabytes is not unpacked.
            for chunk in response.iter_raw():
                received += chunk
                if len(received) > max_body:
                    size = f"larger than {max_body // 1024} KiB"
                    reason = f"HTTP {response.status_code}: the answer is {size}"
                    failed = _failure(TransportFailure.OVERSIZED, reason)
                    return replace(failed, status=response.status_code)
                watch.check()
        # A body that ends with its connection looks the same as one that the watch interrupted.
        watch.check()
        headers = {name.lower(): value for name, value in response.headers.items()}
        body = redact(bytes(received), (*self._secrets, credential_in(request.headers)))
        return HttpResult(response.status_code, headers, body, at=time.time())

    def _failed(self, error: Exception, watch: _Deadline) -> HttpResult:
        httpx = _httpx()

        cause = sanitize(str(error) or type(error).__name__, 200)
        if not watch.started:
            reason = f"the request can't be made ({self.place}): {cause}"
            return _failure(TransportFailure.IMPOSSIBLE, reason)
        # The kind of error and the trace must both show that nothing was sent. (UnicodeError: the
        # host is not a valid name.)
        unsent = (
            _TooLate,
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.UnsupportedProtocol,
            UnicodeError,
        )
        if not watch.sending and isinstance(error, unsent):
            return self._unsent(error, cause)
        if watch.expired or isinstance(error, _TooLate | httpx.TimeoutException):
            why = f"no answer within {watch.timeout:g} s ({self.place})"
            return _failure(TransportFailure.TIMEOUT, why)
        why = f"the connection broke after sending ({self.place}): {cause}"
        return _failure(TransportFailure.BROKEN, why)

    def _unsent(self, error: Exception, cause: str) -> HttpResult:
        import ssl  # httpx has already loaded it.

        links = _chain(error)
        if any(getattr(link, "errno", None) == errno.ECONNREFUSED for link in links):
            return _failure(TransportFailure.REFUSED, f"connection refused ({self.place})")
        if any(isinstance(link, ssl.SSLError) for link in links):
            why = f"TLS failed ({self.place}): {cause}"
        elif (
            any(isinstance(link, TimeoutError | _TooLate) for link in links) or "timed out" in cause
        ):
            why = f"connection timed out ({self.place})"
        else:
            why = f"no connection ({self.place}): {cause}"
        return _failure(TransportFailure.NOT_SENT, why)


def credential_in(sent: Mapping[str, str]) -> str:
    """Return the credential in the headers of a request. '' if they have none."""
    return sent.get("authorization", "").rpartition(" ")[2]


def redact(body: bytes, secrets: Iterable[str]) -> bytes:
    """Return a body without the secrets. An answer may echo them, and no note may contain them."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            # As it is, and as some JSON encoders write it. Bearer tokens may contain '/'.
            for shown in (secret, secret.replace("/", "\\/")):
                body = body.replace(shown.encode(), b"***")
    return body


def _failure(kind: TransportFailure, reason: str) -> HttpResult:
    return HttpResult(failure=kind, reason=reason, at=time.time())


def ca_context(ca_file: Path) -> ssl.SSLContext:
    """Return a TLS context that accepts only certificates of this authority.

    Clusters have authorities of their own. Since Python 3.13, the default flags refuse those
    without key usage or authority key identifier. Everything else is verified as before.

    Raises:
        OSError: The file can't be read, or contains no certificate (``ssl.SSLError``).
    """
    import ssl  # The import takes 10 ms, which an idle tick must not spend.

    context = ssl.create_default_context(cafile=str(ca_file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class _TooLate(Exception):
    """The time is over."""


class _Deadline:
    """Ends an exchange when its time is over, at any point.

    httpx's time-outs apply to each read: a server that sends its headers byte by byte would block
    the exchange forever. So a timer shuts the socket down.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.sending = False
        """Whether a byte of the request may have been sent."""
        self.expired = False
        self._socket: socket.socket | None = None
        self._ends = time.monotonic() + timeout
        self._timer: threading.Timer | None = None

    @property
    def started(self) -> bool:
        return self._timer is not None

    def start(self) -> None:
        timer = threading.Timer(max(0.0, self._ends - time.monotonic()), self._expire)
        timer.daemon = True
        timer.start()  # Fails if there are too many threads. Then nothing is sent.
        self._timer = timer

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> None:
        if self.expired or time.monotonic() >= self._ends:
            self.expired = True
            raise _TooLate

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Handle httpcore's documented trace.

        It provides the socket, and the time from which something may be sent.
        """
        if name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            stream = info.get("return_value")
            self._socket = stream.get_extra_info("socket") if stream is not None else None
        elif name.endswith(".send_request_headers.started"):
            # Connecting may take longer than its time-out (a name with many addresses). After its
            # deadline a claim must not be sent.
            self.check()
            self.sending = True

    def _expire(self) -> None:
        self.expired = True
        if self._socket is not None:
            # Below TLS, because SSLSocket.shutdown must not be called during a read.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


_IMPORT = threading.Lock()
"""Held while httpx is imported without its command line."""


def _httpx() -> Any:
    """Return httpx, imported late and without its command line.

    The import takes 49 ms, which an idle tick must not spend. The command line would import rich
    and pygments if they are installed, which takes 100 ms more. httpx works without it if that
    import fails.
    """
    # Two threads of ``run`` can send their first requests at the same time.
    with _IMPORT:
        hides = "httpx" not in sys.modules
        if hides:
            sys.modules["httpx._main"] = None  # type: ignore[assignment]
        try:
            # Late: httpx is slow to import, and an idle tick sends nothing.
            import httpx
        finally:
            if hides:
                del sys.modules["httpx._main"]
    return httpx
