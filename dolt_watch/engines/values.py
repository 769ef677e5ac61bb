"""Cells of rows in forms that compare and sort alike on both engines."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from dolt_watch.timestamps import parse_foreign, to_utc


def json_value(value: Any) -> Any:
    """A cell as JSON holds it: times as ISO text, so that what was written and what comes back
    compare equal.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    moment = to_utc(value) if hasattr(value, "isoformat") else None
    return moment.isoformat() if moment is not None else str(value)


def sort_value(value: Any) -> Any:
    """A key of ``order_by`` as JSON holds it, in the order in which the database sorts it: as
    text, 10 hours come before 2.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, Decimal):
        return json_value(value)
    return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)


def normalize_cell(name: str, value: Any) -> Any:
    """A cell of ``issues`` for comparing: DoltLite gives times as text, Dolt as times."""
    return json_value(parse_foreign(value) or value) if name.endswith("_at") else json_value(value)
