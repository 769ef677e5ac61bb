"""The capacity of claude-agent-service, from its ``/health``.

The target agent-service uses it, and the target beadboard if its ``service_url`` is set.
"""

from __future__ import annotations

from typing import Any

from dolt_watch.core.model import Capacity
from dolt_watch.targets.http_client import HttpResult

SERVICE = "claude-agent-service"
MOST = 100_000
"""A larger number of jobs in an answer is invalid."""


def interpret_health(exchange: HttpResult) -> Capacity:
    """Return the capacity from ``GET /health`` of claude-agent-service, in its new or old form.

    The answer proves that the service can be reached. The old form doesn't report the queue, so it
    is never ``idle``.
    """
    answer = exchange.json_field() if exchange.status == 200 else None
    unusable = Capacity(0, f"claude-agent-service's health: {exchange.summary}", down=True)
    if not isinstance(answer, dict):
        return unusable
    # An answer with only some of the numbers is not the old form. It comes from something else.
    if not {"active", "queued", "capacity"} & answer.keys():
        if answer.get("busy") is True:
            why = "claude-agent-service is busy"
            return Capacity(0, why, proof="service", speaks_for=SERVICE)
        return Capacity(1, proof="service") if answer.get("busy") is False else unusable
    active, queued, most = (_count(answer.get(key)) for key in ("active", "queued", "capacity"))
    if active is None or queued is None or most is None:
        why = f"claude-agent-service reports impossible numbers: {exchange.summary}"
        return Capacity(0, why, down=True)
    slots, idle = max(0, most - active - queued), active == 0 and queued == 0
    if slots:
        return Capacity(slots, idle=idle, proof="service")
    why = f"claude-agent-service is busy (active {active}, queued {queued}, capacity {most})"
    return Capacity(0, why, idle=idle, proof="service", speaks_for=SERVICE)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None
