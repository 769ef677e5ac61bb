"""Rows of beads' ``events`` in the form that ``bd`` itself writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from dolt_watch.core.model.columns import KEPT_BY_BD


def bd_snapshot(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as bd writes it into events.old_value: what is empty is left out."""
    return {
        name: bd_value(value)
        for name, value in row.items()
        if (value not in (None, "", 0) or name == "priority") and name not in KEPT_BY_BD
    }


def bd_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value if isinstance(value, str | int | float | None) else str(value)


def fit_to_column(full: Mapping[str, Any], least: Mapping[str, Any], limit: int) -> str:
    """Return the whole row as JSON, or the changed fields if the row is too long for the column.

    bd itself fails if the row is too long. ``limit``: bytes of the column.
    """
    text = orjson.dumps(full)
    return (text if len(text) <= limit else orjson.dumps(least)).decode()
