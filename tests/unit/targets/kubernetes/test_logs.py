"""The log of a pod behind a server that isn't an API server."""

from __future__ import annotations

from pathlib import Path

import pytest

from dolt_watch.targets.kubernetes.api import ApiClient, Connection
from dolt_watch.targets.kubernetes.logs import LogsUnavailable, read_logs
from tests.stubs.server import HOST, Recorded, Reply, StubServer

TOKEN = "s3cret/of+the/cluster"


class EchoingServer(StubServer):
    """Lists one pod, and answers a question about its log with the request's own token."""

    def answer(self, request: Recorded) -> Reply:
        if request.path.partition("?")[0].endswith("/log"):
            echo = request.headers["authorization"]
            return Reply(
                502,
                f"no upstream for {echo} {{{echo.replace('/', '!/')}}}".replace("!", "\\") * 9999,
            )
        return Reply(200, {"items": [{"metadata": {"name": "pod-1"}}]})


def test_an_error_is_short_and_contains_no_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN, "utf-8")
    with EchoingServer() as stub:
        api = ApiClient(Connection(f"http://{HOST}:{stub.port}", "ns", tmp_path / "token", None))
        with pytest.raises(LogsUnavailable) as error:
            list(read_logs(api, "dolt-watch-1", follow=False, timeout=5.0))
        api.close()
    says = str(error.value)
    assert says.startswith("HTTP 502: no upstream for Bearer *** {Bearer ***}")
    assert len(says) < 3000 and "s3cret" not in says
