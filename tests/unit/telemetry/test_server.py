"""The HTTP server of `run`: small pages, routes, compression, and unchanged answers."""

from __future__ import annotations

import gzip
import http.client
import socket
from collections.abc import Iterator

import pytest

from dolt_watch.inspection.report.web import Request, Response, plain
from dolt_watch.telemetry.health import COMPRESSED, Server

LONG = b"x" * COMPRESSED


class Site:
    """A page that serves its attributes."""

    def __init__(self) -> None:
        self.tag, self.body = "e.1", LONG
        self.asked: list[Request] = []

    def page(self, request: Request) -> Response:
        self.asked.append(request)
        return Response(200, "text/html; charset=utf-8", self.body, self.tag)


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def port(site: Site) -> Iterator[int]:
    def broken(request: Request) -> Response:
        raise ValueError("no page")

    routes = {"/": site.page, "/bead/": site.page, "/broken": broken}
    server = Server("127.0.0.1", 0, routes | {"/healthz": lambda request: plain(200, "ok")})
    yield server.port
    server.close()


def get(
    port: int, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        asked.request(method, path, headers={"Accept-Encoding": "identity", **named})
        answer = asked.getresponse()
        told = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, told, answer.read()
    finally:
        asked.close()


def test_an_answer_that_the_client_has_is_not_sent_again(site: Site, port: int) -> None:
    status, headers, body = get(port, "/")
    assert (status, body, headers["etag"]) == (200, LONG, '"e.1"')
    assert headers["cache-control"] == "no-cache"
    status, headers, body = get(port, "/", If_None_Match='"e.1"')
    assert (status, body, headers["etag"]) == (304, b"", '"e.1"')
    site.tag = "e.2"
    assert get(port, "/", If_None_Match='"e.1"')[0] == 200
    assert get(port, "/", If_None_Match='"e.1", "e.2"')[0] == 304


@pytest.mark.parametrize("tag", ["e.1", ""])
def test_long_answers_are_compressed_for_clients_that_accept_it(
    site: Site, port: int, tag: str
) -> None:
    site.tag = tag
    for _ in range(2):  # the second answer may come from the cache
        status, headers, body = get(port, "/", Accept_Encoding="br, gzip")
        assert (status, headers["content-encoding"]) == (200, "gzip")
        assert gzip.decompress(body) == LONG and len(body) == int(headers["content-length"])
    site.body = LONG[:-1]
    assert "content-encoding" not in get(port, "/", Accept_Encoding="gzip")[1]
    assert "content-encoding" not in get(port, "/", Accept_Encoding="identity")[1]


def test_other_data_is_never_answered_from_what_is_kept(site: Site, port: int) -> None:
    for number in range(9):
        site.body = LONG + str(number).encode()
        assert gzip.decompress(get(port, "/", Accept_Encoding="gzip")[2]) == site.body


def test_head_sends_no_body(port: int) -> None:
    status, headers, body = get(port, "/", "HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", str(len(LONG)))


def test_routes_are_given_path_and_query(site: Site, port: int) -> None:
    assert get(port, "/bead/a%2Fb%20c?q=1&q2=%C3%A9&empty=")[0] == 200
    assert site.asked == [Request("/bead/a/b c", {"q": "1", "q2": "é"})]


@pytest.mark.parametrize("path", ["/nowhere", "/beads", "/healthz/", "/broken/x"])
def test_other_paths_are_not_found(port: int, path: str) -> None:
    assert get(port, path)[0] == 404


def test_a_page_that_fails(port: int, caplog: pytest.LogCaptureFixture) -> None:
    status, headers, body = get(port, "/broken")
    assert (status, body, headers["cache-control"]) == (500, b"internal error\n", "no-store")
    assert "the page /broken failed" in caplog.text


def test_it_only_reads(port: int) -> None:
    assert get(port, "/", "POST")[0] == 501


def test_small_pages_have_no_tag(port: int) -> None:
    status, headers, body = get(port, "/healthz", If_None_Match="*")
    assert (status, body) == (200, plain(200, "ok").body)
    assert "etag" not in headers and headers["cache-control"] == "no-store"


def test_an_address_that_is_none(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET http://[ HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").readline().split()[1] == b"400"
    assert caplog.text == ""


@pytest.mark.parametrize(("host", "asked"), [("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")])
def test_it_listens_on_ipv6(host: str, asked: str) -> None:
    server = Server(host, 0, {"/healthz": lambda request: plain(200, "ok")})
    try:
        client = http.client.HTTPConnection(asked, server.port, timeout=60)
        client.request("GET", "/healthz")
        assert client.getresponse().read() == b"ok\n"
        client.close()
    finally:
        server.close()
