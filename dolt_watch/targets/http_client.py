"""One HTTP exchange, bounded in every direction, and honest about whether anything was sent.

DO tell 'nothing was sent' from 'nobody knows': only the first may be tried again. DON'T raise:
whatever happens is an ``HttpResult``. Each exchange has its own connection. One kept alive may
be closed by the server in the moment in which it is used again, and a POST lost so would be an
outcome that nobody knows.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from dolt_watch.sanitize import sanitize

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    import httpx

CONNECT_TIMEOUT = 5.0
"""Seconds to find, reach and (https) greet the server."""
MAX_BODY = 64 * 1024
"""Bytes of an answer that are read; more is no answer of a service that we know."""
SHORTEST_SECRET = 6
"""A credential shorter than this is not looked for in answers: hiding every 'a' would hide the
answer.
"""


class TransportFailure(StrEnum):
    """Why there is no whole answer."""

    REFUSED = "refused"
    """Our own connection was refused: nothing was sent."""
    NOT_SENT = "not-sent"
    """No connection (name, route, TLS, time): nothing was sent."""
    IMPOSSIBLE = "impossible"
    """No such request can be made: nothing was sent."""
    BROKEN = "broken"
    """Broken after sending may have begun."""
    TIMEOUT = "timeout"
    """No whole answer in time, after sending may have begun."""
    OVERSIZED = "oversized"
    """The answer is larger than ``MAX_BODY``."""


NOTHING_SENT = frozenset(
    {TransportFailure.REFUSED, TransportFailure.NOT_SENT, TransportFailure.IMPOSSIBLE}
)
AWAY = frozenset(
    {
        TransportFailure.REFUSED,
        TransportFailure.NOT_SENT,
        TransportFailure.BROKEN,
        TransportFailure.TIMEOUT,
    }
)
"""The server cannot be reached, or does not answer: no fault of what was asked."""


@dataclass(frozen=True, slots=True)
class HttpResult:
    """What came of one request: a whole answer (``trouble`` None), or why there is none."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    failure: TransportFailure | None = None
    reason: str = ""
    """The trouble in words: safe to print, no secret in it."""
    at: float = 0.0
    """Seconds since 1970 by this machine, when it ended: only to read a ``Retry-After`` date by,
    where the answer has no ``Date``.
    """

    @property
    def text(self) -> str:
        """The body as text, whatever it holds."""
        return self.body.decode("utf-8", "replace")

    @property
    def summary(self) -> str:
        """'HTTP <code>: <body>', as the notes say it; without an answer, why not."""
        if self.failure is not None:
            return self.reason
        return f"HTTP {self.status}: {sanitize(self.text.rstrip())}".rstrip()


class HttpClient:
    """Asks one server. Give it up with ``close``."""

    def __init__(
        self, url: str, secrets: Sequence[str] = (), *, ca_file: Path | None = None
    ) -> None:
        """``secrets``: what else of ours an answer must not bring back into a note.

        ``ca_file``: the only authority whose certificates are accepted; None: those of the system.
        """
        parts = urlsplit(url)
        self.base = url.rstrip("/")
        self.secure = parts.scheme == "https"
        # The place in words: never the URL itself, which may hold a password.
        self.place = f"{parts.hostname}:{parts.port or (443 if self.secure else 80)}"
        # As it is spelt in the URL and as it is sent; a name without a password is a token.
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
        """Send once; at most ``timeout`` seconds in all, connecting included.

        Redirects are answers, not followed.

        ``max_body``: bytes of the answer; a larger one is ``TransportFailure.OVERSIZED``.
        """
        watch = _Deadline(timeout)
        try:
            return self._exchange(watch, method, path, headers or {}, body, max_body)
        except Exception as error:
            return self._failed(error, watch)
        finally:
            watch.stop()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _exchange(
        self,
        watch: _Deadline,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        max_body: int,
    ) -> HttpResult:
        httpx = _httpx()

        if self._client is None:
            # For http:// no certificates are needed, and reading them costs 20 ms. https:// is
            # verified always, by SSL_CERT_FILE where it is set.
            self._client = httpx.Client(
                verify=self._context() if self.secure else False,
                trust_env=False,
                follow_redirects=False,
                limits=httpx.Limits(max_keepalive_connections=0),
                headers={"accept-encoding": "identity", "user-agent": "dolt-watch"},
            )
        request = self._client.build_request(
            method,
            self.base + path,
            headers=dict(headers),
            content=body,
            timeout=httpx.Timeout(watch.timeout, connect=min(CONNECT_TIMEOUT, watch.timeout)),
            extensions={"trace": watch.trace},
        )
        watch.start()
        response = self._client.send(request, stream=True)
        try:
            received = bytearray()
            # Raw: a body that unpacks to gigabytes is not unpacked.
            for chunk in response.iter_raw():
                received += chunk
                if len(received) > max_body:
                    return HttpResult(
                        response.status_code,
                        failure=TransportFailure.OVERSIZED,
                        reason=(
                            f"HTTP {response.status_code}: answer larger than"
                            f" {max_body // 1024} KiB"
                        ),
                        at=time.time(),
                    )
                watch.check()
        finally:
            response.close()
        # A body that ends with its connection cannot be told from one that our own watch cut off.
        watch.check()
        answer_headers = {name.lower(): value for name, value in response.headers.items()}
        return HttpResult(
            response.status_code,
            answer_headers,
            self._redact(bytes(received), request.headers),
            at=time.time(),
        )

    def _context(self) -> ssl.SSLContext:
        return _httpx().create_ssl_context() if self._ca_file is None else ca_context(self._ca_file)

    def _redact(self, body: bytes, sent: Mapping[str, str]) -> bytes:
        """An answer may echo the request; our credential must not reach a note by that way."""
        for secret in (*self._secrets, sent.get("authorization", "").rpartition(" ")[2]):
            if len(secret) >= SHORTEST_SECRET:
                body = body.replace(secret.encode(), b"***")
        return body

    def _failed(self, error: Exception, watch: _Deadline) -> HttpResult:
        httpx = _httpx()

        cause = sanitize(str(error) or type(error).__name__, 200)
        if not watch.started:
            return HttpResult(
                failure=TransportFailure.IMPOSSIBLE,
                reason=f"no such request ({self.place}): {cause}",
                at=time.time(),
            )
        # Both must agree, the kind of error and what the trace saw: 'nothing was sent' is never
        # a guess. (UnicodeError: a host that is no name.)
        unsent = (
            _TooLate,
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.UnsupportedProtocol,
            UnicodeError,
        )
        if not watch.sending and isinstance(error, unsent):
            return HttpResult(
                failure=self._unsent(error), reason=self._unsent_why(error, cause), at=time.time()
            )
        if watch.expired or isinstance(error, _TooLate | httpx.TimeoutException):
            why = f"no answer within {watch.timeout:g} s ({self.place})"
            return HttpResult(failure=TransportFailure.TIMEOUT, reason=why, at=time.time())
        why = f"connection broken after sending ({self.place}): {cause}"
        return HttpResult(failure=TransportFailure.BROKEN, reason=why, at=time.time())

    def _unsent(self, error: Exception) -> TransportFailure:
        refused = any(getattr(link, "errno", None) == errno.ECONNREFUSED for link in _chain(error))
        return TransportFailure.REFUSED if refused else TransportFailure.NOT_SENT

    def _unsent_why(self, error: Exception, cause: str) -> str:
        import ssl  # httpx has it loaded already

        links = _chain(error)
        if self._unsent(error) is TransportFailure.REFUSED:
            return f"connection refused ({self.place})"
        if any(isinstance(link, ssl.SSLError) for link in links):
            return f"TLS failed ({self.place}): {cause}"
        if any(isinstance(link, TimeoutError | _TooLate) for link in links) or "timed out" in cause:
            return f"no connection in time ({self.place})"
        return f"no connection ({self.place}): {cause}"


def ca_context(ca_file: Path) -> ssl.SSLContext:
    """Return a TLS context that accepts the certificates of this authority only.

    Clusters make their own authorities. Since Python 3.13 the default flags refuse those without
    key usage or authority key identifier; everything else is verified as before.

    Raises:
        OSError: the file cannot be read, or contains no certificate (``ssl.SSLError``).
    """
    import ssl  # 10 ms, which an idle tick must not pay

    context = ssl.create_default_context(cafile=str(ca_file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class _TooLate(Exception):
    """The time is over."""


class _Deadline:
    """Ends an exchange when its time is over, wherever it hangs.

    httpx's time-outs are for one read each: a server that sends its header byte by byte would
    hold us for ever. So a timer shuts the socket down.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.sending = False
        """May a byte of the request have left?"""
        self.expired = False
        self._socket: socket.socket | None = None
        self._ends = time.monotonic() + timeout
        self._timer: threading.Timer | None = None

    @property
    def started(self) -> bool:
        return self._timer is not None

    def start(self) -> None:
        self._timer = threading.Timer(max(0.0, self._ends - time.monotonic()), self._expire)
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> None:
        if self.expired or time.monotonic() >= self._ends:
            self.expired = True
            raise _TooLate

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """httpcore's documented trace: tells us the socket, and the moment from which something
        may be sent.
        """
        if name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            stream = info.get("return_value")
            self._socket = stream.get_extra_info("socket") if stream is not None else None
        elif name.endswith(".send_request_headers.started"):
            # Connecting may take longer than its time-out (a name with many addresses): past its
            # deadline a claim must not be sent.
            self.check()
            self.sending = True

    def _expire(self) -> None:
        self.expired = True
        if self._socket is not None:
            # Below TLS on purpose: SSLSocket.shutdown is not made to be called beside a read.
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what led to it."""
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _httpx() -> Any:
    """httpx, imported late (49 ms, which an idle tick must not pay) and without its own command
    line, which would bring rich and pygments, 100 ms more, wherever they happen to be installed:
    httpx does without it where its import fails.
    """
    import sys

    if "httpx" not in sys.modules:
        sys.modules["httpx._main"] = None  # type: ignore[assignment]
        try:
            import httpx
        finally:
            del sys.modules["httpx._main"]
    import httpx

    return httpx
