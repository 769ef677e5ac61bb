"""Cells of rows, in forms that compare and sort the same way on both engines."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from dolt_watch.timestamps import parse_foreign, to_utc


def json_value(value: Any) -> Any:
    """Return a cell as a JSON value.

    Times become ISO text, so that a written value equals the value that is read back.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    moment = to_utc(value) if hasattr(value, "isoformat") else None
    return moment.isoformat() if moment is not None else str(value)


def sort_value(value: Any) -> Any:
    """Return a key of ``order_by`` as a JSON value that sorts in the database's order.

    As text, 10 hours would sort before 2 hours.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, Decimal):
        return json_value(value)
    return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)


def normalize_cell(name: str, value: Any) -> Any:
    """Return a cell of ``issues`` for comparison: DoltLite returns times as text, Dolt as times."""
    return json_value(parse_foreign(value) or value) if name.endswith("_at") else json_value(value)
