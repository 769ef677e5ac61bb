"""Beads as rows and as JSON, and their derived values."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from tests.standin.tracker import Row, Tracker

FIELDS = (
    *(
        "id",
        "title",
        "description",
        "design",
        "acceptance_criteria",
        "notes",
        "spec_id",
        "status",
        "priority",
    ),
    *(
        "issue_type",
        "assignee",
        "owner",
        "estimated_minutes",
        "created_at",
        "created_by",
        "updated_at",
    ),
    *(
        "started_at",
        "lease_expires_at",
        "heartbeat_at",
        "closed_at",
        "close_reason",
        "due_at",
        "defer_until",
        "external_ref",
    ),
)
"""Columns in the order of bd's JSON. The labels and ``ephemeral`` come after these."""
BLOCKING = ("blocks", "conditional-blocks", "waits-for")


def encoded(value: Any) -> str:
    """Return a value as JSON on one line, in the format of Go."""
    return _escaped(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def indented(value: Any) -> str:
    return _escaped(json.dumps(value, ensure_ascii=False, indent=2))


def _escaped(text: str) -> str:
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def of_row(row: Row, labels: list[str] | None = None, lease: Row | None = None) -> Row:
    """Return a bead in the format of bd's JSON."""
    shown: Row = {}
    row = row | {name: (lease or {}).get(name) for name in ("lease_expires_at", "heartbeat_at")}
    for name in FIELDS:
        value = row.get(name)
        if isinstance(value, datetime):
            value = stamp(value)
        if value not in (None, "") or name == "priority":
            shown[name] = value
    if labels:
        shown["labels"] = labels
    if row.get("ephemeral"):
        shown["ephemeral"] = True
    return shown


def table_of(tracker: Tracker, bead: str) -> str:
    """Return 'issues' or 'wisps', or '' for an unknown bead."""
    for table in ("wisps", "issues"):
        if tracker.rows(f"SELECT 1 FROM {table} WHERE id = %s", [bead]):
            return table
    return ""


def labels_of(tracker: Tracker, bead: str, table: str = "issues") -> list[str]:
    name = "labels" if table == "issues" else "wisp_labels"
    return [
        row["label"]
        for row in tracker.rows(
            f"SELECT label FROM {name} WHERE issue_id = %s ORDER BY label", [bead]
        )
    ]


def lease_of(tracker: Tracker, bead: str) -> Row | None:
    if not tracker.dialect.leases:
        return None
    return next(iter(tracker.rows("SELECT * FROM leases WHERE issue_id = %s", [bead])), None)


def dependencies(tracker: Tracker, wisps: bool = True) -> list[Row]:
    """Return all edges. ``depends_on_id`` contains the target of each edge, for all dialects."""
    target = "depends_on_id"
    if tracker.dialect.typed_targets:
        target = (
            "COALESCE(depends_on_issue_id, depends_on_wisp_id, depends_on_external) AS"
            " depends_on_id"
        )
    found = []
    for table in ("dependencies", *(["wisp_dependencies"] if wisps else [])):
        found += tracker.rows(
            f"SELECT issue_id, {target}, type, created_at, created_by, metadata FROM {table}"
        )
    return sorted(found, key=lambda row: (row["issue_id"], row["depends_on_id"]))


def statuses(tracker: Tracker, wisps: bool = True) -> dict[str, str]:
    found: dict[str, str] = {}
    for table in ("issues", *(["wisps"] if wisps else [])):
        found |= {
            row["id"]: row["status"] for row in tracker.rows(f"SELECT id, status FROM {table}")
        }
    return found


def active(status: str) -> bool:
    return status not in ("closed", "pinned")


def blocked_directly(edges: list[Row], status: dict[str, str]) -> set[str]:
    """Return the beads that an edge of the bead blocks.

    Such an edge names an active blocker, or a gate with active children.
    """
    children: dict[str, list[str]] = {}
    for edge in edges:
        if edge["type"] == "parent-child":
            children.setdefault(edge["depends_on_id"], []).append(edge["issue_id"])
    found = set()
    for edge in edges:
        bead, target = edge["issue_id"], edge["depends_on_id"]
        if not active(status.get(bead, "closed")):
            continue
        if edge["type"] in ("blocks", "conditional-blocks"):
            if active(status.get(target, "closed")):
                found.add(bead)
        elif edge["type"] == "waits-for" and any(
            active(status.get(child, "closed")) for child in children.get(target, [])
        ):
            found.add(bead)
    return found


def blocked_with_parents(edges: list[Row], status: dict[str, str]) -> set[str]:
    """Return the beads whose ``is_blocked`` is true, including descendants of blocked beads."""
    found = blocked_directly(edges, status)
    parents = [(e["issue_id"], e["depends_on_id"]) for e in edges if e["type"] == "parent-child"]
    while True:
        more = {
            child
            for child, parent in parents
            if parent in found and active(status.get(child, "closed"))
        } - found
        if not more:
            return found
        found |= more


def affected(edges: list[Row], beads: set[str]) -> set[str]:
    """Return the beads whose blocking may depend on these beads, including these beads."""
    below: dict[str, set[str]] = {}
    waiters: dict[str, set[str]] = {}
    for edge in edges:
        if edge["type"] in ("blocks", "conditional-blocks", "parent-child"):
            below.setdefault(edge["depends_on_id"], set()).add(edge["issue_id"])
        if edge["type"] == "waits-for":
            waiters.setdefault(edge["depends_on_id"], set()).add(edge["issue_id"])
    for edge in edges:
        if edge["type"] == "parent-child":
            below.setdefault(edge["issue_id"], set()).update(waiters.get(edge["depends_on_id"], ()))
    found, rest = set(beads), list(beads)
    while rest:
        bead = rest.pop()
        more = (below.get(bead, set()) | waiters.get(bead, set())) - found
        found |= more
        rest += more
    return found


def keep_blocked(tracker: Tracker, beads: set[str]) -> None:
    """Update ``is_blocked`` of these beads and their dependents. Other cells don't change."""
    if not tracker.dialect.keeps_blocked:
        return
    edges, status = dependencies(tracker), statuses(tracker)
    blocked = blocked_with_parents(edges, status)
    for bead in sorted(affected(edges, beads)):
        for table in ("issues", "wisps"):
            tracker.run(
                f"UPDATE {table} SET is_blocked = %s, updated_at = updated_at WHERE id = %s AND"
                " is_blocked <> %s",
                [bead in blocked, bead, bead in blocked],
            )


def blockers(tracker: Tracker, bead: str) -> list[str]:
    """Return the reasons that prevent closing a bead, in bd's words. Empty if there are none."""
    edges, status = dependencies(tracker), statuses(tracker)
    blocked = (
        blocked_with_parents(edges, status)
        if tracker.dialect.keeps_blocked
        else blocked_directly(edges, status)
    )
    if bead not in blocked:
        return []
    found = []
    for edge in edges:
        target, kind = edge["depends_on_id"], edge["type"]
        if edge["issue_id"] == bead and kind in BLOCKING and active(status.get(target, "closed")):
            found.append(target if kind == "blocks" else f"{target} ({kind})")
    return found
