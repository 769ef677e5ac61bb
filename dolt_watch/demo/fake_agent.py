"""A small agent for the demo, behind BeadBoard's two routes on a real HTTP server.

The agent works on beads through its own database connections.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from dolt_watch.beads.schema import tracker_schema
from dolt_watch.engines import Engine
from dolt_watch.errors import Conflict
from dolt_watch.timestamps import to_utc

WORKING_SECONDS = 0.9
"""Seconds between two steps of the agent's work."""


def edit(engine: Engine, bead: str, who: str, message: str, **cells: str) -> None:
    """Change one bead in one commit, as bd does: its row, and a row of ``events``.

    Args:
        engine: A connection of the user or agent who makes the change.
        bead: ID of the bead.
        who: Name of the user or agent.
        message: Message of the commit.
        cells: Column → its new value. ``notes`` are appended.

    Raises:
        Conflict: Each of 20 attempts conflicted with another writer.
    """
    for tries in range(20):
        try:
            _edit(engine, bead, who, message, cells)
            return
        except Conflict:
            time.sleep(0.01 * (tries + 1))  # Another writer committed first.
    raise Conflict(f"Could not change {bead} for {who}: 20 attempts conflicted.")


def _edit(engine: Engine, bead: str, who: str, message: str, cells: Mapping[str, str]) -> None:
    with engine.transaction() as tx:
        ((notes, clock),) = tx.query(
            "SELECT notes, UTC_TIMESTAMP(6) FROM issues WHERE id = ?", (bead,)
        )
        now = to_utc(clock)
        assert now is not None
        # bd writes whole seconds.
        now = now.replace(microsecond=0)
        values: dict[str, Any] = {**cells, "updated_at": now}
        if notes and "notes" in cells:
            values["notes"] = f"{notes}\n{cells['notes']}"
        if cells.get("status") == "closed":
            values["closed_at"] = now
        # bd changes this number at each edit, to detect concurrent ones.
        if "row_lock" in engine.columns("issues"):
            values["row_lock"] = secrets.randbits(63)
        sets = ", ".join(f"{name} = ?" for name in values)
        tx.execute(f"UPDATE issues SET {sets} WHERE id = ?", (*values.values(), bead))
        # bd records each edit as an event.
        kind = "status_changed" if "status" in cells else "updated"
        tx.execute(
            "INSERT INTO events (id, issue_id, event_type, actor, old_value, new_value, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (str(uuid.uuid4()), bead, kind, who, "{}", json.dumps(cells), now),
        )
        unversioned = tracker_schema(engine).unversioned
        tx.dolt_commit(
            [table for table in ("issues", "events") if table not in unversioned],
            message,
            f"{who} <{who}@example.com>",
        )


class Agent:
    """An agent that accepts one bead after another.

    Args:
        connect: Opens a connection to the tracker.
        say: Prints a step of the agent.
        dies: Bead on which the agent shows no activity after it accepted the bead.
        refuses: Bead that the agent refuses once, as BeadBoard does while it can't read Dolt.
    """

    def __init__(
        self, connect: Callable[[], Engine], say: Callable[[str], None], *, dies: str, refuses: str
    ) -> None:
        self.connect, self.say = connect, say
        self.dies = dies
        self.troubles: list[Exception] = []
        """Errors of the agent, which fail the demo."""
        self._unknown = {refuses}
        self._working: list[threading.Thread] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for worker in self._working:
            worker.join(5)

    def status(self) -> dict[str, Any]:
        """Answer a request for the agent's status."""
        return {"busy": any(worker.is_alive() for worker in self._working)}

    def dispatch(self, request: Any) -> tuple[int, dict[str, Any]]:
        """Answer a request as BeadBoard does: the same checks in the same order."""
        bead = request.get("taskId") if isinstance(request, dict) else None
        if not isinstance(bead, str) or not bead.strip():
            return 400, {"error": "taskId is required."}
        if bead in self._unknown:
            self._unknown.discard(bead)
            self.say(f"refuses {bead} with HTTP 400, because it can't read the tracker yet")
            return 400, {"error": f"Bead {bead} not found."}
        with closing(self.connect()) as engine:
            known = engine.query("SELECT 1 FROM issues WHERE id = ?", (bead,))
        if not known:
            return 400, {"error": f"Bead {bead} not found."}
        job = secrets.token_hex(6)
        if bead == self.dies:
            self.say(f"accepts {bead}, and crashes")
        else:
            self.say(f"accepts {bead}, and starts work")
            worker = threading.Thread(target=self._work, args=(bead, job), daemon=True)
            self._working.append(worker)
            worker.start()
        return 200, {"job_id": job}

    def _work(self, bead: str, job: str) -> None:
        try:
            with closing(self.connect()) as engine:
                time.sleep(WORKING_SECONDS)
                self.say(f"adds a note to {bead}, which is a sign of life")
                edit(engine, bead, "agent", f"bd: note {bead}", notes=f"job {job}: half done")
                time.sleep(WORKING_SECONDS)
                done = {"status": "closed", "close_reason": f"done by job {job}"}
                edit(engine, bead, "agent", f"bd: close {bead}", **done)
                self.say(f"finishes {bead}, and closes it")
        except Exception as error:
            self.troubles.append(error)


def _handler(agent: Agent) -> type[BaseHTTPRequestHandler]:
    # The two routes of BeadBoard that the target uses.
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/api/agent-status":
                self._send(200, agent.status())
            else:
                self._send(404, {"error": "Not found."})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path != "/api/agent-dispatch":
                self._send(404, {"error": "Not found."})
                return
            try:
                request = json.loads(body)
            except ValueError:
                self._send(400, {"error": "Invalid JSON body."})
                return
            self._send(*agent.dispatch(request))

        def _send(self, status: int, answer: Mapping[str, Any]) -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing: the demo prints its own steps."""

    return Handler
