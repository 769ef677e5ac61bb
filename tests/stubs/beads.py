"""Beads as a handler passes them to a target: complete rows in the format of the engines."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dolt_watch.targets.protocol import BeadTask

ROW: dict[str, Any] = {
    "id": "bd-1",
    "title": "Find the slow query",
    "description": "Pages take 3 s since Monday.",
    "design": "",
    "acceptance_criteria": "the query is named",
    "notes": "",
    "status": "open",
    "priority": 1,
    "issue_type": "bug",
    "assignee": "agent",
    "created_at": datetime(2026, 4, 18, 22, 35, 46),  # noqa: DTZ001 - as pymysql gives it
    "closed_at": None,
    "pinned": 0,
}


def task(rule: str = "", **columns: Any) -> BeadTask:
    row = {**ROW, **columns}
    return BeadTask(str(row["id"]), row, rule)
