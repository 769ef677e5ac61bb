"""Requests and answers of the live page. The server itself is in ``telemetry``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Request(NamedTuple):
    """A GET request."""

    path: str
    """Decoded, without the query."""
    query: Mapping[str, str]


class Response(NamedTuple):
    """An answer. The server compresses it and answers 304 by itself."""

    status: int
    kind: str
    """Content type."""
    body: bytes
    tag: str = ""
    """ETag without quotes; '' if the answer must not be cached."""


Route = Callable[[Request], Response]
"""Answers all requests of one path, or below one path that ends with '/'."""


def plain(status: int, text: str) -> Response:
    return Response(status, "text/plain; charset=utf-8", f"{text}\n".encode())
