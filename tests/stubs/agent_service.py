"""A stub of claude-agent-service (eccf0dd): /health, /execute and /jobs/{id}.

The jobs are in memory. No agent runs unless the test simulates one.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.stubs.server import Recorded, Reply, StubServer

ENDED = frozenset({"completed", "failed", "timeout", "error"})


@dataclass
class Job:
    """A job as in the answer of ``GET /jobs/{id}``."""

    id: str
    status: str
    prompt: str
    agent: str
    metadata: Any
    created_at: str
    more: dict[str, Any] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        told = {
            name: getattr(self, name)
            for name in ("status", "prompt", "agent", "created_at", "metadata")
        }
        return told | self.more


class AgentServiceStub(StubServer):
    """A stub of the service.

    ``old`` selects the older version, with a single slot and 409 when busy. An empty ``bearer`` is
    a service without a token, which refuses every request.
    """

    def __init__(
        self,
        *,
        capacity: int = 10,
        max_queue_depth: int = 100,
        bearer: str = "s3cret-bearer",
        old: bool = False,
    ) -> None:
        super().__init__()
        self.capacity = 1 if old else capacity
        self.max_queue_depth = max_queue_depth
        self.bearer = bearer
        self.old = old
        self.jobs: dict[str, Job] = {}

    # -- controls for tests --------------------

    @property
    def active(self) -> int:
        return self._count("running")

    @property
    def queued(self) -> int:
        return self._count("queued")

    @property
    def busy(self) -> bool:
        return self.active >= self.capacity

    def finish(
        self, job: str, status: str = "completed", *, exit_code: int | None = None, error: str = ""
    ) -> None:
        """End a job and start the next queued job.

        The status 'timeout' frees the slot, although a real agent would continue.
        """
        assert status in ENDED, status
        with self._lock:
            ended = self.jobs[job]
            ended.status = status
            now = datetime.now(UTC)
            ended.more |= {"finished_at": now.isoformat(), "finished_epoch": now.timestamp()}
            if status in ("completed", "failed"):
                code = exit_code if exit_code is not None else int(status == "failed")
                ended.more |= {"exit_code": code, "output": [], "stderr": ""}
            else:
                ended.more["error"] = error or ("timed out" if status == "timeout" else "broken")
            self._start_queued()

    def forget(self) -> None:
        """Forget all jobs, as after a restart."""
        with self._lock:
            self.jobs.clear()

    def health_next(self, what: int | str, body: Any = b"", **more: Any) -> None:
        self.script("/health", what, body, **more)

    def execute_next(self, what: int | str, body: Any = b"", **more: Any) -> None:
        self.script("/execute", what, body, **more)

    # -- behavior --------------------

    def answer(self, request: Recorded) -> Reply:
        match request.method, request.path:
            case "GET", "/health":
                return Reply(200, self._health())
            case "POST", "/execute":
                return self._execute(request)
            case "GET", path if path.startswith("/jobs/"):
                refusal = self._refusal(request)
                job = self.jobs.get(path.removeprefix("/jobs/"))
                if refusal is not None:
                    return refusal
                return Reply(200, job.told()) if job else Reply(404, {"detail": "Job not found"})
            case _, "/health" | "/execute":
                return Reply(405, {"detail": "Method Not Allowed"})
            case _, path if path.startswith("/jobs/"):
                return Reply(405, {"detail": "Method Not Allowed"})
            case _:
                return Reply(404, {"detail": "Not Found"})

    def _health(self) -> dict[str, Any]:
        with self._lock:
            told: dict[str, Any] = {"status": "ok", "busy": self.busy}
            if not self.old:
                told |= {"active": self.active, "queued": self.queued, "capacity": self.capacity}
            return told

    def _execute(self, request: Recorded) -> Reply:
        wrong = _validate(request.body)
        if wrong:  # before the bearer, as in the real service
            return Reply(422, {"detail": wrong})
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        with self._lock:
            if self.old and self.busy:
                return Reply(409, {"detail": "Agent is busy"})
            if self.active + self.queued >= self.max_queue_depth:
                return Reply(429, {"detail": "Queue full"})
            asked = request.json
            job = Job(
                id=secrets.token_hex(6),
                status="queued",
                prompt=asked["prompt"],
                agent=asked["agent"],
                metadata=asked.get("metadata"),
                created_at=datetime.now(UTC).isoformat(),
            )
            self.jobs[job.id] = job
            self._start_queued()
            return Reply(202, {"job_id": job.id, "status": "running" if self.old else "queued"})

    def _refusal(self, request: Recorded) -> Reply | None:
        given = request.headers.get("authorization", "")
        if not self.bearer:
            return Reply(401, {"detail": "Service unauthenticated"})
        if not given.startswith("Bearer "):
            return Reply(401, {"detail": "Missing bearer token"})
        if given != f"Bearer {self.bearer}":
            return Reply(401, {"detail": "Invalid token"})
        return None

    def _start_queued(self) -> None:
        for job in self.jobs.values():
            if job.status == "queued" and self.active < self.capacity:
                job.status = "running"
                job.more["started_at"] = datetime.now(UTC).isoformat()

    def _count(self, status: str) -> int:
        with self._lock:
            return sum(job.status == status for job in self.jobs.values())


def _validate(body: bytes) -> list[dict[str, Any]]:
    try:
        asked = json.loads(body)
    except ValueError:
        return [{"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error"}]
    if not isinstance(asked, dict):
        return [
            {
                "type": "model_attributes_type",
                "loc": ["body"],
                "msg": "Input should be a valid dictionary",
            }
        ]
    return [
        {
            "type": "missing" if name not in asked else "string_type",
            "loc": ["body", name],
            "msg": f"{name} is wrong",
        }
        for name in ("prompt", "agent")
        if not isinstance(asked.get(name), str)
    ]
