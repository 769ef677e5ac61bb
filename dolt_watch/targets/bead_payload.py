"""The bead as JSON for targets. Both engines give the same values."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from dolt_watch.targets.protocol import BeadTask
from dolt_watch.timestamps import to_utc

_TIMES = frozenset({"last_activity", "defer_until"})
"""Columns with times whose names don't end in ``_at``."""


def bead_payload(task: BeadTask) -> dict[str, Any]:
    """Return the columns as text, number or None. Times have the form '2026-04-18T22:35:46Z'."""
    return {name: _plain(name, value) for name, value in {**task.row, "id": task.bead}.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime) or (value and (name.endswith("_at") or name in _TIMES)):
        with suppress(ValueError):  # Text that isn't a time stays as it is.
            moment = to_utc(value)
            assert moment is not None
            return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if value is None or isinstance(value, str | int | float) else str(value)
