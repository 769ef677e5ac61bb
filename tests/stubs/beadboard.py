"""A stub of BeadBoard (20f07e9) with the two routes that dolt_watch uses.

The order of the checks, the cache and the fail-open cases are as in BeadBoard.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.server import Recorded, Reply, StubServer, dead_port, dead_url

__all__ = ["BeadBoardStub", "dead_port", "dead_url"]

DISPATCH, STATUS = "/api/agent-dispatch", "/api/agent-status"


def any_bead(bead: str) -> Mapping[str, Any]:
    """Return a row for any bead. Default lookup of tests without a tracker."""
    return {"id": bead, "title": bead, "acceptance_criteria": "done"}


class BeadBoardStub(StubServer):
    """A stub of BeadBoard.

    Args:
        service: Stub of the service, used over real HTTP. With None, the stub invents the jobs.
            The attribute ``busy`` is then the answer of agent-status.
        lookup: Returns the row of a bead, or None.
        on_accept: Called with bead and job after the job is accepted and before the answer.
            A simulated agent can act here, so that its changes precede the answer.

    The attribute ``accepted`` contains (bead, job) of the jobs that really run, in order.
    """

    def __init__(
        self,
        service: AgentServiceStub | None = None,
        *,
        service_url: str = "",
        bearer: str | None = None,
        configured: bool = True,
        lookup: Callable[[str], Mapping[str, Any] | None] = any_bead,
        on_accept: Callable[[str, str], None] | None = None,
        cache: float = 0.0,
        service_timeout: float = 301.0,
        tls: Path | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(tls, port)
        self.service_url = service_url or (service.url if service else "")
        self.bearer = bearer if bearer is not None else (service.bearer if service else "")
        self.configured = configured
        self.lookup = lookup
        self.on_accept = on_accept
        self.cache = cache
        """Lifetime of a cached agent-status in seconds. BeadBoard uses 2.0."""
        self.service_timeout = service_timeout
        self.busy = False
        self.accepted: list[tuple[str, str]] = []
        self._remembered: tuple[float, bool] | None = None

    # -- controls for tests --------------------

    def answer_next(self, what: int | str, body: Any = b"", **more: Any) -> None:
        """Set the next answer to a dispatch: a status and body, or a word of ``server.WORDS``."""
        self.script(DISPATCH, what, body, **more)

    def status_next(self, what: int | str, body: Any = b"", **more: Any) -> None:
        """Set the next answer of agent-status. The values are those of ``answer_next``."""
        self.script(STATUS, what, body, **more)

    @property
    def dispatches(self) -> list[Recorded]:
        return self.asked("POST", DISPATCH)

    # -- behavior --------------------

    def answer(self, request: Recorded) -> Reply:
        match request.method, request.path:
            case "GET", path if path == STATUS:
                return Reply(200, {"busy": self._busy()})
            case "POST", path if path == DISPATCH:
                return self._dispatch(request)
            case _, path if path in (STATUS, DISPATCH):
                return Reply(405)
            case _:
                return Reply(404, "<html>404: This page could not be found.</html>")

    def _busy(self) -> bool:
        if not self.service_url:
            return self.busy
        if self._remembered is not None and time.monotonic() - self._remembered[0] < self.cache:
            return self._remembered[1]
        busy = self._ask_busy()
        self._remembered = (time.monotonic(), busy)
        return busy

    def _ask_busy(self) -> bool:
        """Return whether the service answers 503 or busy. Any failure counts as not busy."""
        try:
            status, text = self._ask("GET", "/health")
            if status == 503:
                return True
            return status == 200 and json.loads(text).get("busy") is True
        except (OSError, HTTPException, ValueError, AttributeError):
            return False

    def _dispatch(self, request: Recorded) -> Reply:
        try:
            asked = request.json
        except ValueError:
            return Reply(400, {"error": "Invalid JSON body."})
        if asked is None:
            return Reply(500)
        bead = asked.get("taskId") if isinstance(asked, dict) else None
        if not isinstance(bead, str) or not bead.strip():
            return Reply(400, {"error": "taskId is required."})
        bead = bead.strip()
        if not self.configured or (self.service_url and not self.bearer):
            why = (
                "Claude agent service is not configured (CLAUDE_AGENT_SERVICE_URL,"
                " CLAUDE_AGENT_BEARER_TOKEN)."
            )
            return Reply(500, {"error": why})
        row = self.lookup(bead)
        if row is None:
            return Reply(400, {"error": f"Bead {bead} not found."})
        if not str(row.get("acceptance_criteria") or "").strip():
            return Reply(400, {"error": f"Bead {bead} is missing acceptance criteria."})
        return (
            self._pass_on(bead, row)
            if self.service_url
            else self._accept(bead, secrets.token_hex(6))
        )

    def _pass_on(self, bead: str, row: Mapping[str, Any]) -> Reply:
        asked = {
            "prompt": f"Bead {bead}: {row.get('title', '')}\n{row['acceptance_criteria']}",
            "agent": "beads-task-runner",
            "max_budget_usd": 5,
            "timeout_seconds": 900,
        }
        try:
            status, text = self._ask("POST", "/execute", asked)
        except (OSError, HTTPException):
            return Reply(502, {"error": "fetch failed"})
        try:
            told = json.loads(text)
        except ValueError:
            told = None
        told = told if isinstance(told, dict) else {}
        if status >= 300:
            error = told.get("detail") or f"Agent service returned HTTP {status}."
            return Reply(409 if status == 409 else 502, {"error": error})
        job = told.get("job_id")
        return (
            self._accept(bead, job)
            if job
            else Reply(502, {"error": "Agent service response missing job_id."})
        )

    def _accept(self, bead: str, job: str) -> Reply:
        with self._lock:
            self.accepted.append((bead, job))
        if self.on_accept is not None:
            self.on_accept(bead, job)
        return Reply(200, {"job_id": job})

    def _ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        parts = urlsplit(self.service_url)
        assert parts.hostname is not None
        connection = HTTPConnection(parts.hostname, parts.port, timeout=self.service_timeout)
        try:
            headers = {"Authorization": f"Bearer {self.bearer}", "Content-Type": "application/json"}
            connection.request(
                method, path, json.dumps(body) if body is not None else None, headers
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()
