"""A BeadBoard stub that can kill its client during a POST.

It also checks that history contains the claim of each token that arrives.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.stubs.beadboard import DISPATCH, BeadBoardStub
from tests.stubs.server import Recorded, Reply

LOST = "lost"
"""An answer: the job is accepted, and the connection closes before the first byte."""
_BREAK = Reply(0)


class Moment(StrEnum):
    """A moment during a POST."""

    ARRIVED = "request arrived, nothing done"
    ACCEPTED = "request done, not answered"
    HALF = "half of the answer is out"


class KillingBoard(BeadBoardStub):
    """A BeadBoard that kills its clients.

    Args:
        claimed: Return whether history contains the claim of a token now.
        answers: Bead → the answers to send before the board accepts the bead.
    """

    def __init__(self, claimed: Callable[[str], bool], **more: Any) -> None:
        super().__init__(**more)
        self.claimed = claimed
        self.answers: dict[str, deque[int | str]] = {}
        self.unclaimed: list[str] = []
        """Tokens that arrived before their claim was in history."""
        self._victim, self._moment, self._nth = 0, Moment.ARRIVED, 0
        self._serving = threading.Lock()

    def kill(self, victim: int, moment: Moment, nth: int = 1) -> None:
        """Kill the process ``victim`` at this moment of the ``nth`` POST from now on."""
        self._victim, self._moment, self._nth = victim, moment, nth

    def spare(self) -> None:
        """Stop killing workers.

        Returns when no request is being answered, so that forking is safe.
        """
        with self._serving:
            self._victim = 0

    @property
    def posts(self) -> Counter[str]:
        """Return the number of POSTs of each bead."""
        return Counter(str(request.json["taskId"]) for request in self.dispatches)

    def tokens(self, bead: str) -> list[str]:
        """Return the tokens of the POSTs of this bead, in order."""
        return [
            request.headers["idempotency-key"]
            for request in self.dispatches
            if request.json["taskId"] == bead
        ]

    def jobs(self, bead: str) -> list[str]:
        """Return the runs that exist."""
        return [job for accepted, job in self.accepted if accepted == bead]

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        with self._serving:
            super()._handle(handler)

    def answer(self, request: Recorded) -> Reply:
        if request.path != DISPATCH:
            return super().answer(request)
        self._nth -= 1
        self._strike(Moment.ARRIVED)
        token = request.headers["idempotency-key"]
        if not self.claimed(token):
            self.unclaimed.append(token)
        planned = self.answers.get(request.json["taskId"])
        what = planned.popleft() if planned else 200
        if isinstance(what, int) and what != 200:
            reply = Reply(what, {"error": "scripted answer of the stub"})
        else:
            reply = super().answer(request)
        self._strike(Moment.ACCEPTED)
        return _BREAK if what == LOST else reply

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        half = handler.path == DISPATCH and self._due(Moment.HALF)
        if half:
            handler.close_connection = True
            self._raw(handler, b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"job_')
            self._strike(Moment.HALF)
        elif reply is _BREAK:
            handler.close_connection = True
            with suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)
        else:
            super()._send(handler, reply)

    def _due(self, moment: Moment) -> bool:
        return bool(self._victim) and self._nth == 0 and self._moment is moment

    def _strike(self, moment: Moment) -> None:
        if self._due(moment):
            os.kill(self._victim, signal.SIGKILL)
