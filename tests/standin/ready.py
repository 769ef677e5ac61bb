"""The answers of ``bd ready`` and ``bd blocked``."""

from __future__ import annotations

from tests.standin.beads import active, blocked_directly, dependencies, statuses
from tests.standin.tracker import Row, Tracker, now

NOT_WORK = ("merge-request", "gate", "molecule", "message", "agent", "role", "rig")


def ready(tracker: Tracker, assignee: str | None = None) -> list[Row]:
    """Return the ready rows of ``issues``, in bd's order."""
    moment = now()
    edges = dependencies(tracker)
    deferred = {
        row["id"] for row in tracker.rows("SELECT id FROM issues WHERE defer_until > %s", [moment])
    }
    later = {
        e["issue_id"]
        for e in edges
        if e["type"] == "parent-child" and e["depends_on_id"] in deferred
    }
    if tracker.dialect.keeps_blocked:
        blocked = {row["id"] for row in tracker.rows("SELECT id FROM issues WHERE is_blocked = 1")}
    else:
        blocked = blocked_directly(
            dependencies(tracker, wisps=False), statuses(tracker, wisps=False)
        )
        blocked |= {
            e["issue_id"]
            for e in edges
            if e["type"] == "parent-child" and e["depends_on_id"] in blocked
        }
    rows = tracker.rows(
        "SELECT * FROM issues WHERE status = 'open' AND NOT COALESCE(pinned, 0)"
        " AND NOT COALESCE(ephemeral, 0) AND (defer_until IS NULL OR defer_until <= %s)",
        [moment],
    )
    found = [
        row
        for row in rows
        if row["issue_type"] not in NOT_WORK
        and row["id"] not in blocked | later
        and (assignee is None or row["assignee"] == assignee)
    ]
    return sorted(found, key=lambda row: (row["priority"], row["created_at"], row["id"]))


def blocked(tracker: Tracker) -> list[str]:
    """Return the IDs of blocked beads that have a known blocker."""
    edges, status = dependencies(tracker), statuses(tracker)
    if tracker.dialect.keeps_blocked:
        text = (
            "SELECT id FROM issues WHERE is_blocked = 1 UNION SELECT id FROM wisps WHERE"
            " is_blocked = 1"
        )
        found = {row["id"] for row in tracker.rows(text)}
        return sorted(bead for bead in found if active(status[bead]))
    direct = blocked_directly(edges, status)
    children = {
        e["issue_id"]
        for e in edges
        if e["type"] == "parent-child"
        and e["depends_on_id"] in direct
        and active(status.get(e["issue_id"], "closed"))
    }
    found = direct | children
    named = {
        e["issue_id"]
        for e in edges
        if e["type"] in ("blocks", "waits-for", "conditional-blocks")
        and e["issue_id"] in found
        and active(status.get(e["depends_on_id"], "closed"))
    }
    return sorted(named | children)
