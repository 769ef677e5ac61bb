"""The capacity of claude-agent-service, from its ``/health``.

The target agent-service uses it, and the target beadboard if its ``service_url`` is set.
"""

from __future__ import annotations

from typing import Any

from dolt_watch.core.model import Capacity
from dolt_watch.targets.http_client import HttpResult
from dolt_watch.targets.responses import parse_json

SERVICE = "claude-agent-service"
MOST = 100_000
"""A larger number of jobs in an answer is invalid."""


def interpret_health(exchange: HttpResult) -> Capacity:
    """Return the capacity from ``GET /health`` of claude-agent-service, in its new or old form.

    The answer proves that the service can be reached. The old form doesn't report the queue, so it
    is never ``idle``.
    """
    answer = parse_json(exchange) if exchange.failure is None and exchange.status == 200 else None
    if not isinstance(answer, dict):
        return Capacity(0, f"claude-agent-service's health: {exchange.summary}", down=True)
    # An answer with only some of the numbers is not the old form. It comes from something else.
    if not {"active", "queued", "capacity"} & answer.keys():
        busy = answer.get("busy")
        if not isinstance(busy, bool):
            return Capacity(0, f"claude-agent-service's health: {exchange.summary}", down=True)
        return (
            Capacity(0, "claude-agent-service is busy", proof="service", speaks_for=SERVICE)
            if busy
            else Capacity(1, proof="service")
        )
    active, queued, most = (_count(answer.get(key)) for key in ("active", "queued", "capacity"))
    if active is None or queued is None or most is None:
        return Capacity(
            0, f"claude-agent-service reports impossible numbers: {exchange.summary}", down=True
        )
    slots = max(0, most - active - queued)
    why = (
        ""
        if slots
        else f"claude-agent-service is busy (active {active}, queued {queued}, capacity {most})"
    )
    return Capacity(
        slots,
        why,
        idle=active == 0 and queued == 0,
        proof="service",
        speaks_for="" if slots else SERVICE,
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None
