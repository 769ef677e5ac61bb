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
    """bd itself fails past the column's end; we say the changed fields only.

    ``limit``: bytes that the column takes.
    """
    text = orjson.dumps(full)
    return (text if len(text) <= limit else orjson.dumps(least)).decode()
