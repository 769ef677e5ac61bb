"""Single requests to the beadboard target, as in a tick."""

from __future__ import annotations

from datetime import timedelta

from dolt_watch.core.model import Capacity
from dolt_watch.core.model.target_answers import Answer
from dolt_watch.targets.beadboard import BeadBoard
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.settings import BeadBoardSettings
from tests.stubs.server import ENDLESS

TASK = BeadTask("bd-1", {"id": "bd-1"})
SHORT = 1.0
"""Time-out in seconds for servers that hang on purpose. A busy machine needs a part of it to take
the request.
"""


def patience(what: str) -> float:
    """Return the time-out in seconds for a scripted answer: ``SHORT`` only if it never ends."""
    return SHORT if what in ENDLESS else 5.0


def beadboard(url: str, service_url: str = "", timeout: float = 30.0) -> BeadBoard:
    """Return the target. The caller closes it."""
    seconds = timedelta(seconds=timeout)
    settings = BeadBoardSettings("beadboard", url=url, service_url=service_url, timeout=seconds)
    return BeadBoard(settings)


def dispatch(url: str, timeout: float = 5.0, task: BeadTask = TASK) -> Answer:
    board = beadboard(url, timeout=timeout)
    try:
        return board.dispatch(task, "token-1")
    finally:
        board.close()


def capacity(url: str, service_url: str = "", timeout: float = 5.0) -> Capacity:
    board = beadboard(url, service_url, timeout)
    try:
        return board.capacity()
    finally:
        board.close()
