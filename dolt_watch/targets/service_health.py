"""How much claude-agent-service takes, by its own ``/health``: asked by the agent-service
target, and by BeadBoard's where it knows the service.
"""

from __future__ import annotations

from typing import Any

from dolt_watch.core.model import Capacity
from dolt_watch.targets.http_client import HttpResult
from dolt_watch.targets.responses import parse_json

SERVICE = "claude-agent-service"
MOST = 100_000
"""A service that counts more jobs than this is not believed."""


def interpret_health(exchange: HttpResult) -> Capacity:
    """``GET /health`` of claude-agent-service, new shape or old; it proves that the service can
    be reached. The old one tells nothing of its queue, so it is never ``idle``.
    """
    answer = parse_json(exchange) if exchange.failure is None and exchange.status == 200 else None
    if not isinstance(answer, dict):
        return Capacity(0, f"claude-agent-service's health: {exchange.summary}", down=True)
    # Half of the numbers is not the old shape: it is an answer of something else.
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
            0, f"claude-agent-service's numbers make no sense: {exchange.summary}", down=True
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
