"""The bead as others get it: its columns as JSON has them, the same from either engine."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from dolt_watch.targets.protocol import BeadTask
from dolt_watch.timestamps import to_utc

_TIMES = frozenset({"last_activity", "defer_until"})
"""Columns of times whose names do not end in ``_at``."""


def bead_payload(task: BeadTask) -> dict[str, Any]:
    """Column → text, number, or None; times as '2026-04-18T22:35:46Z'."""
    return {name: _plain(name, value) for name, value in {**task.row, "id": task.bead}.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime) or (value and (name.endswith("_at") or name in _TIMES)):
        with suppress(ValueError):  # text that is no time, or a date that no calendar has: as it is
            moment = to_utc(value)
            assert moment is not None
            return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if value is None or isinstance(value, str | int | float) else str(value)
