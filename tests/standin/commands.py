"""The recorded commands, with the behavior of real bd.

A command prints to stdout and returns nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pymysql

from tests.standin import ready as readiness
from tests.standin.beads import (
    blockers,
    dependencies,
    encoded,
    indented,
    keep_blocked,
    labels_of,
    lease_of,
    of_row,
    stamp,
    table_of,
)
from tests.standin.tracker import AUTHOR, Refused, Row, Tracker, edge_id, now

Options = Mapping[str, Any]
LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
LEASE = timedelta(minutes=5)
SWEPT = (
    *(
        "issues",
        "wisps",
        "events",
        "wisp_events",
        "dependencies",
        "wisp_dependencies",
        "labels",
        "wisp_labels",
    ),
    *(
        "comments",
        "wisp_comments",
        "metadata",
        "child_counters",
        "issue_counter",
        "issue_snapshots",
    ),
    *("compaction_snapshots", "federation_peers", "custom_statuses", "custom_types", "dolt_ignore"),
)
"""Tables that bd 1.0.2 commits when it opens the database to write. Doesn't include ``config``."""


def found(tracker: Tracker, bead: str) -> tuple[str, Row]:
    """Return the table and the row of a bead. Raises Refused."""
    table = table_of(tracker, bead)
    if not table:
        raise Refused(f'no issue found matching "{bead}"')
    return table, tracker.one(f"SELECT * FROM {table} WHERE id = %s", [bead])


def lock(tracker: Tracker) -> dict[str, int]:
    """Return the cell with a new random value for a row, for dialects that have it."""
    return {"row_lock": secrets.randbits(64) - 2**63} if tracker.dialect.leases else {}


def event(tracker: Tracker, table: str, bead: str, kind: str, **cells: Any) -> None:
    wisp = table == "wisps"
    row = {
        "id": str(uuid.uuid4()),
        "issue_id": bead,
        "event_type": kind,
        "actor": tracker.actor,
        **({"old_value": "", "new_value": "", "comment": ""} if wisp else {}),
        "created_at": now(),
    }
    tracker.insert("wisp_events" if wisp else "events", row | cells)


def change(
    tracker: Tracker,
    bead: str,
    updates: dict[str, Any],
    kind: str = "",
    cells: dict[str, Any] | None = None,
) -> str:
    """Write cells of a bead and their event, in the current transaction.

    Returns the table of the bead.
    """
    table, row = found(tracker, bead)
    before = encoded(of_row(row, labels_of(tracker, bead, table), lease_of(tracker, bead)))
    moment = now()
    status = updates.get("status")
    more: dict[str, Any] = {}
    if status == "in_progress" and row["started_at"] is None:
        more["started_at"] = moment
    if status and status != "closed" and row["status"] == "closed":
        more |= {"closed_at": None, "close_reason": ""}
    written = {**updates, **more, **(cells or {}), **lock(tracker), "updated_at": moment}
    names = ", ".join(f"`{name}` = %s" for name in written)
    tracker.run(f"UPDATE {table} SET {names} WHERE id = %s", [*written.values(), bead])
    if not kind:
        kind = "updated" if status is None else "status_changed"
        if status and row["status"] == "closed" and status != "closed":
            kind = "reopened"
    shown = {
        name: stamp(value) if isinstance(value, datetime) else value
        for name, value in sorted(updates.items())
    }
    event(tracker, table, bead, kind, old_value=before, new_value=encoded(shown))
    if status:
        if tracker.dialect.leases and row["status"] == "in_progress" and status != "in_progress":
            tracker.run("DELETE FROM leases WHERE issue_id = %s", [bead])
        keep_blocked(tracker, {bead})
    return table


def update_bead(tracker: Tracker, bead: str, updates: dict[str, Any]) -> None:
    row = found(tracker, bead)[1]
    if tracker.dialect.leases:  # bd 1.3 writes only changed cells
        updates = {
            name: value for name, value in updates.items() if (row[name] or "") != (value or "")
        }
        if not updates:
            return
    with tracker.transaction():
        if change(tracker, bead, updates) == "issues":
            tracker.commit(f"bd: update {bead}", staged(tracker, "issues", "events"))


def staged(tracker: Tracker, *tables: str) -> tuple[str, ...]:
    return tuple(each for each in tables if each != "events" or not tracker.dialect.events_ignored)


# -- beads --------------------


def new_id(tracker: Tracker, wisp: bool) -> str:
    prefix = tracker.one("SELECT value FROM config WHERE `key` = 'issue_prefix'")["value"]
    middle = "-wisp-" if wisp else "-"
    for length in (3, 3, 3, 4, 5, 6):
        name = prefix + middle + "".join(secrets.choice(LETTERS) for _ in range(length))
        if not table_of(tracker, name):
            return name
    raise Refused("no free id")


def child_id(tracker: Tracker, parent: str) -> str:
    """Return the next child ID of a parent. Write its counter in the current transaction."""
    table = found(tracker, parent)[0]
    counters = (
        "wisp_child_counters"
        if table == "wisps" and tracker.dialect.typed_targets
        else "child_counters"
    )
    rows = tracker.rows(f"SELECT last_child FROM {counters} WHERE parent_id = %s", [parent])
    number = int(rows[0]["last_child"]) + 1 if rows else 1
    tracker.run(
        f"INSERT INTO {counters} (parent_id, last_child) VALUES (%s, %s)"
        " ON DUPLICATE KEY UPDATE last_child = VALUES(last_child)",
        [parent, number],
    )
    return f"{parent}.{number}"


NULLS = {"assignee", "external_ref", "compacted_at_commit", "storage_class"}


def blank(tracker: Tracker, table: str) -> Row:
    """Return a new row of ``issues`` or ``wisps`` with the initial values of bd."""
    row: Row = {}
    for name, kind in tracker.columns(table).items():
        if kind.startswith(("varchar", "text", "longtext")):
            row[name] = None if name in NULLS else ""
        elif kind.startswith(("tinyint", "bigint")) or name == "compaction_level":
            row[name] = 0
        elif kind == "json":
            row[name] = "{}"
        else:
            row[name] = None
    return row


def create(tracker: Tracker, words: list[str], options: Options) -> None:
    (title,) = words
    wisp, parent = bool(options.get("ephemeral")), options.get("parent")
    table = "wisps" if wisp else "issues"
    labels = [each for each in str(options.get("labels") or "").split(",") if each]
    moment = now()
    one_by_one = tracker.dialect.sweeps  # bd 1.0.2 commits each part separately
    with tracker.transaction():
        bead = options.get("id") or (child_id(tracker, parent) if parent else new_id(tracker, wisp))
        if table_of(tracker, bead):
            raise Refused(f"issue {bead} already exists")
        content = "\0".join(
            [title, str(options.get("description")), str(options.get("acceptance"))]
        )
        row = blank(tracker, table) | {
            "id": bead,
            "content_hash": hashlib.sha256(content.encode()).hexdigest(),
            "title": title,
            "description": options.get("description") or "",
            "acceptance_criteria": options.get("acceptance") or "",
            "status": "open",
            "priority": int(str(options.get("priority") or 2).removeprefix("P")),
            "issue_type": options.get("type") or "task",
            "assignee": options.get("assignee"),
            "created_at": moment,
            "updated_at": moment,
            "created_by": tracker.actor,
            "owner": tracker.user.get("email", ""),
            "ephemeral": int(wisp),
            **lock(tracker),
        }
        tracker.insert(table, row)
        event(tracker, table, bead, "created", old_value="", new_value="")
        if one_by_one and not wisp:
            tracker.commit(f"bd: create {bead}", ["issues", "events"])
    with tracker.transaction():
        if parent and one_by_one:
            add_dependency(tracker, table, bead, parent, "parent-child")
            if not wisp:
                tracker.commit(f"dependency: add parent-child {bead} -> {parent}", ["dependencies"])
        for label in labels:
            tracker.insert(
                "labels" if table == "issues" else "wisp_labels", {"issue_id": bead, "label": label}
            )
            event(tracker, table, bead, "label_added", comment=f"Added label: {label}")
        if tracker.dialect.events_ignored and parent:
            add_dependency(tracker, table, bead, parent, "parent-child")
        message = "bd: create issue" if tracker.dialect.events_ignored else f"bd: create {bead}"
        if not wisp:
            tables = ["issues", "events", *(["labels"] if labels else [])]
            if parent:
                tables += [
                    "child_counters",
                    *(["dependencies"] if tracker.dialect.events_ignored else []),
                ]
            tracker.commit(message, staged(tracker, *tables))
    if parent and not one_by_one and not tracker.dialect.events_ignored:
        with tracker.transaction():
            add_dependency(tracker, table, bead, parent, "parent-child")
            if not wisp:
                tracker.commit(f"dependency: add parent-child {bead} -> {parent}", ["dependencies"])
    print(bead if options.get("silent") else f"✓ Created issue: {bead} — {title}")


def assign(tracker: Tracker, words: list[str], options: Options) -> None:
    bead, name = words
    update_bead(tracker, bead, {"assignee": name})
    print(f"✓ Assigned {bead} to {name}" if name else f"✓ Unassigned {bead}")


def note(tracker: Tracker, words: list[str], options: Options) -> None:
    """Append a note to a bead.

    Like bd, this command reads the old text outside of the transaction. Text from a concurrent
    writer can be lost.
    """
    bead, text = words
    old = found(tracker, bead)[1]["notes"]
    update_bead(tracker, bead, {"notes": f"{old}\n{text}" if old else text})
    print(f"✓ Note added to {bead}")


def comment(tracker: Tracker, words: list[str], options: Options) -> None:
    bead, text = words
    table = found(tracker, bead)[0]
    row = {
        "id": str(uuid.uuid4()),
        "issue_id": bead,
        "author": tracker.actor,
        "text": text,
        "created_at": now(),
    }
    with tracker.transaction():
        tracker.insert("comments" if table == "issues" else "wisp_comments", row)
        if table == "issues" and not tracker.dialect.sweeps:
            tracker.commit(f"bd: comment {bead}", ["comments"])
    print(f"✓ Comment added to {bead}")


def update(tracker: Tracker, words: list[str], options: Options) -> None:
    (bead,) = words
    if options.get("claim"):
        claim(tracker, bead)
    names = {
        "acceptance": "acceptance_criteria",
        "status": "status",
        "assignee": "assignee",
        "title": "title",
        "notes": "notes",
    }
    updates: dict[str, Any] = {
        column: options[name] for name, column in names.items() if name in options
    }
    if "priority" in options:
        updates["priority"] = int(options["priority"].removeprefix("P"))
    if "defer" in options:
        updates["defer_until"] = datetime.fromisoformat(options["defer"])
        if updates["defer_until"] > now():
            updates["status"] = "deferred"
    if updates:
        update_bead(tracker, bead, updates)
    print(f"✓ Updated issue: {bead}")


def claim(tracker: Tracker, bead: str) -> None:
    row = found(tracker, bead)[1]
    holder, actor = row["assignee"] or "", tracker.actor
    if holder not in ("", actor):
        raise Refused(f"claiming {bead}: issue already claimed by {holder}")
    if holder == actor and (tracker.dialect.sweeps or row["status"] == "in_progress"):
        return
    with tracker.transaction():
        change(tracker, bead, {"assignee": actor, "status": "in_progress"}, "claimed")
        if tracker.dialect.leases:
            moment = now()
            tracker.run(
                "REPLACE INTO leases (issue_id, holder, granted_at, lease_expires_at, heartbeat_at,"
                " granted_node) VALUES (%s, %s, %s, %s, %s, '')",
                [bead, actor, moment, moment + LEASE, moment],
            )
        message = f"bd: update {bead}" if tracker.dialect.leases else f"bd: claim {bead}"
        tracker.commit(message, staged(tracker, "issues", "events"))


def heartbeat(tracker: Tracker, words: list[str], options: Options) -> None:
    (bead,) = words
    row = found(tracker, bead)[1]
    if row["status"] != "in_progress":
        raise Refused(f"heartbeat {bead}: issue not claimable: {bead} status {row['status']}")
    moment = now()
    if not tracker.run(
        "UPDATE leases SET heartbeat_at = %s, lease_expires_at = %s WHERE issue_id = %s AND holder"
        " = %s",
        [moment, moment + LEASE, bead, tracker.actor],
    ):
        raise Refused(f"heartbeat {bead}: {tracker.actor} holds no lease")
    print(f"✓ Heartbeat {bead}")


def defer(tracker: Tracker, words: list[str], options: Options) -> None:
    update_bead(tracker, words[0], {"status": "deferred"})
    print(f"* Deferred {words[0]}")


def undefer(tracker: Tracker, words: list[str], options: Options) -> None:
    update_bead(tracker, words[0], {"defer_until": None, "status": "open"})
    print(f"* Undeferred {words[0]} (now open)")


def close(tracker: Tracker, words: list[str], options: Options) -> None:
    (bead,) = words
    reason = options.get("reason") or "Closed"
    table, row = found(tracker, bead)
    assignee = row["assignee"] or ""
    if not options.get("force"):
        if tracker.dialect.leases and assignee not in ("", tracker.actor):
            raise Refused(
                f'cannot close {bead}: assignee is "{assignee}", actor is "{tracker.actor}";'
                " reclaim or use --force to override",
                bare=True,
            )
        if keep := blockers(tracker, bead):
            names = " ".join(keep)
            if tracker.dialect.leases:
                text = (
                    f"cannot close blocked issue: {bead} is blocked by [{names}] (use --force to"
                    " override)"
                )
            else:
                text = (
                    f"cannot close {bead}: blocked by open issues [{names}] (use --force to"
                    " override)"
                )
            raise Refused(text, bare=True)
    moment = now()
    cells = {
        "status": "closed",
        "closed_at": moment,
        "updated_at": moment,
        "close_reason": reason,
        **lock(tracker),
    }
    with tracker.transaction():
        names = ", ".join(f"{name} = %s" for name in cells)
        tracker.run(f"UPDATE {table} SET {names} WHERE id = %s", [*cells.values(), bead])
        event(tracker, table, bead, "closed", old_value="", new_value=reason)
        if tracker.dialect.leases:
            tracker.run("DELETE FROM leases WHERE issue_id = %s", [bead])
        keep_blocked(tracker, {bead})
        if table == "issues":
            tracker.commit(f"bd: close {bead}", staged(tracker, "issues", "events"))
    print(f"✓ Closed {bead} — {row['title']}: {reason}")


def reopen(tracker: Tracker, words: list[str], options: Options) -> None:
    (bead,) = words
    if found(tracker, bead)[1]["status"] == "closed":
        update_bead(tracker, bead, {"status": "open"})
        print(f"↻ Reopened {bead}")
    else:
        print(f"{bead} is not closed")


def delete(tracker: Tracker, words: list[str], options: Options) -> None:
    (bead,) = words
    if not options.get("force"):
        raise Refused("without --force nothing is deleted")
    table = found(tracker, bead)[0]
    prefix = "" if table == "issues" else "wisp_"
    near = {e["issue_id"] for e in dependencies(tracker) if e["depends_on_id"] == bead} - {bead}
    with tracker.transaction():
        targets = "depends_on_id = %s"
        if tracker.dialect.typed_targets:
            targets = "%s IN (depends_on_issue_id, depends_on_wisp_id)"
        tracker.run(
            f"DELETE FROM {prefix}dependencies WHERE issue_id = %s OR {targets}", [bead, bead]
        )
        for each in ("events", "comments", "labels"):
            tracker.run(f"DELETE FROM {prefix}{each} WHERE issue_id = %s", [bead])
        if tracker.dialect.leases:
            tracker.run("DELETE FROM leases WHERE issue_id = %s", [bead])
        tracker.run(f"DELETE FROM {table} WHERE id = %s", [bead])
        keep_blocked(tracker, near)
        message = "bd: delete 1 issue(s)" if tracker.dialect.leases else f"bd: delete {bead}"
        if table == "issues":
            tables = ("issues", "dependencies", "labels", "child_counters")
            tracker.commit(message, tables)
    print(f"✓ Deleted {bead}")


def rename(tracker: Tracker, words: list[str], options: Options) -> None:
    """Rename a bead. Leaves the changed rows uncommitted, as bd does."""
    old, new = words
    found(tracker, old)
    with tracker.transaction():
        tracker.run("SET foreign_key_checks = 0")
        tracker.run("UPDATE issues SET id = %s, updated_at = %s WHERE id = %s", [new, now(), old])
        for table in ("dependencies", "labels", "comments", "events"):
            tracker.run(f"UPDATE {table} SET issue_id = %s WHERE issue_id = %s", [new, old])
        target = "depends_on_issue_id" if tracker.dialect.typed_targets else "depends_on_id"
        tracker.run(f"UPDATE dependencies SET {target} = %s WHERE {target} = %s", [new, old])
        if tracker.dialect.typed_targets:
            for row in tracker.rows(
                "SELECT id, issue_id, COALESCE(depends_on_issue_id, depends_on_wisp_id,"
                " depends_on_external) AS target FROM dependencies WHERE %s IN (issue_id,"
                " depends_on_issue_id)",
                [new],
            ):
                tracker.run(
                    "UPDATE dependencies SET id = %s WHERE id = %s",
                    [edge_id(row["issue_id"], row["target"]), row["id"]],
                )
        event(tracker, "issues", new, "renamed", old_value=old, new_value=new)
        tracker.run("SET foreign_key_checks = 1")
    print(f"✓ Renamed {old} to {new}")


def promote(tracker: Tracker, words: list[str], options: Options) -> None:
    (bead,) = words
    table, row = found(tracker, bead)
    if table != "wisps":
        raise Refused(f"{bead} is not a wisp")
    past = tracker.rows("SELECT * FROM wisp_events WHERE issue_id = %s", [bead])
    target = blank(tracker, "issues")
    copy = {name: row[name] for name in target if name in row} | {"ephemeral": 0, **lock(tracker)}
    last = (
        "Promoted from Level 0"
        if tracker.dialect.leases
        else "Promoted from wisp to permanent bead"
    )
    with tracker.transaction():
        tracker.insert("issues", copy)
        if tracker.dialect.sweeps:
            event(tracker, "issues", bead, "created", old_value="", new_value="")
            tracker.commit(f"bd: create {bead}", ["issues", "events"])
    with tracker.transaction():
        for each in past:
            tracker.insert("events", each)
        if tracker.dialect.typed_targets:
            tracker.run(
                "UPDATE dependencies SET depends_on_issue_id = %s, depends_on_wisp_id = NULL"
                " WHERE depends_on_wisp_id = %s",
                [bead, bead],
            )
        for name in ("wisp_events", "wisp_labels", "wisp_comments", "wisp_dependencies"):
            tracker.run(f"DELETE FROM {name} WHERE issue_id = %s", [bead])
        tracker.run("DELETE FROM wisps WHERE id = %s", [bead])
        keep_blocked(tracker, {bead})
        if tracker.dialect.sweeps:
            event(tracker, "issues", bead, "commented", comment=last)
        else:
            tracker.commit(
                f"bd: promote {bead}", staged(tracker, "issues", "events", "dependencies", "labels")
            )
    if not tracker.dialect.sweeps:
        with tracker.transaction():
            event(tracker, "issues", bead, "commented", comment=last)
            tracker.commit(f"bd: comment {bead}", staged(tracker, "events"))
    print(f"✓ Promoted {bead}")


# -- relations of beads --------------------


def add_dependency(tracker: Tracker, table: str, bead: str, target: str, kind: str) -> None:
    """Add a dependency in the current transaction. Raises Refused for an unknown target."""
    row: Row = {"issue_id": bead, "type": kind, "created_at": now(), "created_by": tracker.actor}
    row |= {"metadata": "{}", "thread_id": ""}
    where = "external" if target.startswith("external:") else found(tracker, target)[0]
    if tracker.dialect.typed_targets:
        row["id"] = edge_id(bead, target)
        column = {"external": "external", "issues": "issue_id", "wisps": "wisp_id"}[where]
        row[f"depends_on_{column}"] = target
    else:
        row["depends_on_id"] = target
    try:
        tracker.insert("dependencies" if table == "issues" else "wisp_dependencies", row)
    except pymysql.err.IntegrityError as error:
        raise Refused(f"dependency {bead} -> {target} already exists") from error
    keep_blocked(tracker, {bead})


def dep(tracker: Tracker, words: list[str], options: Options) -> None:
    verb, bead, target = words
    table = found(tracker, bead)[0]
    kind = options.get("type") or "blocks"
    short = tracker.dialect.events_ignored
    with tracker.transaction():
        if verb == "add":
            if bead == target:
                raise Refused("an issue cannot depend on itself")
            add_dependency(tracker, table, bead, target, kind)
            said = f"dependency: add {kind} {bead} -> {target}"
            told = ("dependency_added", f"Added dependency: {bead} {kind} {target}")
        elif verb == "remove":
            column = "depends_on_id"
            if tracker.dialect.typed_targets:
                column = "COALESCE(depends_on_issue_id, depends_on_wisp_id, depends_on_external)"
            if not tracker.run(
                f"DELETE FROM dependencies WHERE issue_id = %s AND {column} = %s", [bead, target]
            ):
                raise Refused(f"no dependency {bead} -> {target}")
            keep_blocked(tracker, {bead})
            said = f"dependency: remove {bead} -> {target}"
            told = ("dependency_removed", f"Removed dependency on {target}")
        else:
            raise Refused(f"bd dep {verb} is not recorded, so this stand-in does not offer it")
        if short:
            event(tracker, table, bead, told[0], old_value="", new_value=told[1])
        if table == "issues":
            tracker.commit(f"bd: dep {verb} {bead} {target}" if short else said, ["dependencies"])
    print(f"✓ {said}")


def label(tracker: Tracker, words: list[str], options: Options) -> None:
    verb, bead, name = words
    table = found(tracker, bead)[0]
    past = {"add": "added", "remove": "removed"}[verb]
    labels = "labels" if table == "issues" else "wisp_labels"
    with tracker.transaction():
        if verb == "add":
            tracker.run(
                f"INSERT IGNORE INTO {labels} (issue_id, label) VALUES (%s, %s)", [bead, name]
            )
        else:
            tracker.run(f"DELETE FROM {labels} WHERE issue_id = %s AND label = %s", [bead, name])
        if tracker.dialect.events_ignored:
            event(
                tracker, table, bead, f"label_{past}", comment=f"{past.capitalize()} label: {name}"
            )
        message = f"bd: label {past} '{name}' on 1 issue(s)"
        if table == "issues":
            tracker.commit(
                f"bd: update {bead}" if tracker.dialect.events_ignored else message, ["labels"]
            )
    print(f"✓ {past.capitalize()} label '{name}' on {bead}")


def config(tracker: Tracker, words: list[str], options: Options) -> None:
    verb, key, value = words
    if (verb, key) != ("set", "status.custom"):
        raise Refused(f"bd config {verb} {key} is not recorded, so this stand-in does not offer it")
    with tracker.transaction():
        tracker.run("REPLACE INTO config (`key`, value) VALUES (%s, %s)", [key, value])
        tracker.run("DELETE FROM custom_statuses")
        for each in value.split(","):
            name, _, category = each.partition(":")
            tracker.insert("custom_statuses", {"name": name, "category": category or "unspecified"})
    if tracker.dialect.sweeps:
        commit_pending(tracker)
    print(f"Set {key} = {value}")


def commit_pending(tracker: Tracker) -> None:
    """Commit all uncommitted changes. The message contains the names of the tables."""
    tables = sorted(tracker.dirty())
    if tables:
        with tracker.transaction():
            tracker.run(
                "CALL DOLT_COMMIT('-Am', %s, '--author', %s)",
                [f"bd: batch commit by {tracker.actor} (+ {', '.join(tables)})", AUTHOR],
            )


def dolt(tracker: Tracker, words: list[str], options: Options) -> None:
    if words != ["commit"]:
        raise Refused(
            f"bd dolt {' '.join(words)} is not recorded, so this stand-in does not offer it"
        )
    pending = bool(tracker.dirty())
    commit_pending(tracker)
    print("Committed." if pending else "Nothing to commit.")


# -- history --------------------


def squash(tracker: Tracker, message: str, branch: str) -> int:
    """Squash all history into one commit on top of the oldest commit.

    Uncommitted rows are lost. Returns the number of commits before.
    """
    count = int(tracker.one("SELECT COUNT(*) AS n FROM dolt_log")["n"])
    oldest = tracker.one("SELECT commit_hash FROM dolt_log ORDER BY date, commit_order LIMIT 1")[
        "commit_hash"
    ]
    tracker.run("CALL DOLT_BRANCH(%s)", [branch])
    tracker.run("CALL DOLT_CHECKOUT(%s)", [branch])
    tracker.run("CALL DOLT_RESET('--soft', %s)", [oldest])
    tracker.run("CALL DOLT_COMMIT('-Am', %s)", [message.format(count=count)])
    tracker.run("CALL DOLT_CHECKOUT('main')")
    tracker.run("CALL DOLT_RESET('--hard', %s)", [branch])
    tracker.run("CALL DOLT_BRANCH('-D', %s)", [branch])
    return count


def flatten(tracker: Tracker, words: list[str], options: Options) -> None:
    count = squash(tracker, "flatten: squash all history into single commit", "flatten-tmp")
    with contextlib.suppress(pymysql.MySQLError):
        tracker.run("CALL DOLT_GC()")
    print(f"✓ Flattened {count} commits → 1")


def compact(tracker: Tracker, words: list[str], options: Options) -> None:
    if options.get("days") != "0":
        raise Refused(
            "bd compact is recorded with --days 0 only, so this stand-in offers nothing else"
        )
    count = squash(tracker, "compact: squash {count} commits into base snapshot", "compact-tmp")
    with contextlib.suppress(pymysql.MySQLError):
        tracker.run("CALL DOLT_GC()")
    print(f"✓ Compacted {count} commits")


def nothing(tracker: Tracker, words: list[str], options: Options) -> None:
    """Do nothing, as ``gc`` and ``purge`` in the recordings. No recorded bead is old enough."""


# -- answers --------------------


def counted(tracker: Tracker, rows: Iterable[Row]) -> list[Row]:
    """Return beads in the format of ``list`` and ``ready``, with their dependencies and counts."""
    edges = dependencies(tracker)
    comments = {
        row["issue_id"]: row["n"]
        for row in tracker.rows("SELECT issue_id, COUNT(*) AS n FROM comments GROUP BY issue_id")
    }
    labels: dict[str, list[str]] = {}
    for row in tracker.rows("SELECT issue_id, label FROM labels ORDER BY label"):
        labels.setdefault(row["issue_id"], []).append(row["label"])
    shown = []
    for row in rows:
        bead = row["id"]
        own = [edge for edge in edges if edge["issue_id"] == bead]
        one = of_row(row, labels.get(bead))
        if own:
            one["dependencies"] = [edge | {"created_at": stamp(edge["created_at"])} for edge in own]
        one["dependency_count"] = sum(edge["type"] == "blocks" for edge in own)
        one["dependent_count"] = sum(
            edge["type"] == "blocks" and edge["depends_on_id"] == bead for edge in edges
        )
        one["comment_count"] = comments.get(bead, 0)
        if parents := [edge["depends_on_id"] for edge in own if edge["type"] == "parent-child"]:
            one["parent"] = parents[0]
        shown.append(one)
    return shown


def ready(tracker: Tracker, words: list[str], options: Options) -> None:
    limit = int(options.get("limit") or 100)
    rows = readiness.ready(tracker, options.get("assignee"))
    answer(tracker, rows[:limit] if limit else rows, options)


def blocked(tracker: Tracker, words: list[str], options: Options) -> None:
    ids = readiness.blocked(tracker)
    answer(tracker, [found(tracker, bead)[1] for bead in ids], options)


def listed(tracker: Tracker, words: list[str], options: Options) -> None:
    rows = tracker.rows("SELECT * FROM issues ORDER BY priority, created_at DESC, id")
    if not options.get("all"):
        rows = [row for row in rows if row["status"] not in ("closed", "pinned")]
    answer(tracker, rows, options)


def answer(tracker: Tracker, rows: list[Row], options: Options) -> None:
    if options.get("json"):
        print(indented(counted(tracker, rows)))
    for row in [] if options.get("json") else rows:
        print(f"○ {row['id']} ● P{row['priority']} {row['issue_type']} {row['title']}")


def show(tracker: Tracker, words: list[str], options: Options) -> None:
    (bead,) = words
    table, row = found(tracker, bead)
    if not options.get("json"):
        print(f"○ {bead} · {row['title']}   [● P{row['priority']} · {row['status'].upper()}]")
        for title, name in (
            ("DESCRIPTION", "description"),
            ("ACCEPTANCE CRITERIA", "acceptance_criteria"),
        ):
            print(f"\n{title}\n{row[name]}" if row[name] else "", end="\n" if row[name] else "")
        print(f"\nNOTES\n{row['notes']}" if row["notes"] else "")
        return
    one = of_row(row, labels_of(tracker, bead, table), lease_of(tracker, bead))
    edges = dependencies(tracker)
    comments = tracker.rows(
        "SELECT * FROM comments WHERE issue_id = %s ORDER BY created_at, id", [bead]
    )
    if tracker.dialect.typed_targets:
        one["dependent_count"] = sum(edge["depends_on_id"] == bead for edge in edges)
        one["dependency_count"] = sum(edge["issue_id"] == bead for edge in edges)
        one["comment_count"] = len(comments)
        if tracker.dialect.leases:
            one |= {"comments_omitted": True} if comments else {}
            one["revision"] = row["row_lock"]
        print(indented([one]))
        return
    for name, here, there in (
        ("dependencies", "issue_id", "depends_on_id"),
        ("dependents", "depends_on_id", "issue_id"),
    ):
        others = [
            of_row(found(tracker, edge[there])[1]) | {"dependency_type": edge["type"]}
            for edge in edges
            if edge[here] == bead and table_of(tracker, edge[there])
        ]
        if others:
            one[name] = others
    if comments:
        one["comments"] = [each | {"created_at": stamp(each["created_at"])} for each in comments]
    if parents := [
        e["depends_on_id"] for e in edges if e["issue_id"] == bead and e["type"] == "parent-child"
    ]:
        one["parent"] = parents[0]
    print(indented([one]))


def sql(tracker: Tracker, words: list[str], options: Options) -> None:
    (text,) = words
    with tracker.connection.cursor() as cursor:
        try:
            cursor.execute(text)
            while cursor.nextset():
                pass
        except pymysql.MySQLError as error:
            raise Refused(str(error)) from error
        if cursor.description is None:
            print("OK")
            return
        names, rows = [column[0] for column in cursor.description], cursor.fetchall()
    if rows:
        print("  ".join(names), "-" * 40, sep="\n")
        for row in rows:
            print("  ".join("NULL" if value is None else str(value) for value in row.values()))
    print(f"({len(rows)} rows)")


Command = Callable[[Tracker, list[str], Options], None]
TEXT = {
    "-d": "description",
    "--description": "description",
    "--acceptance": "acceptance",
    "-p": "priority",
    "--priority": "priority",
    "-a": "assignee",
    "--assignee": "assignee",
    "-t": "type",
    "--type": "type",
    "--parent": "parent",
    "--id": "id",
    "-l": "labels",
    "--labels": "labels",
    "-s": "status",
    "--status": "status",
    "--title": "title",
    "--notes": "notes",
    "--defer": "defer",
    "-r": "reason",
    "--reason": "reason",
    "-n": "limit",
    "--limit": "limit",
    "--days": "days",
}
FLAGS = ("--silent", "--ephemeral", "--claim", "--force", "--json", "--all")
COMMANDS: dict[str, tuple[Command, int, set[str]]] = {
    "create": (
        create,
        1,
        {
            "description",
            "acceptance",
            "priority",
            "assignee",
            "type",
            "parent",
            "id",
            "labels",
            "silent",
            "ephemeral",
        },
    ),
    "update": (
        update,
        1,
        {"claim", "status", "assignee", "acceptance", "title", "priority", "defer", "notes"},
    ),
    "assign": (assign, 2, set()),
    "note": (note, 2, set()),
    "comment": (comment, 2, set()),
    "heartbeat": (heartbeat, 1, set()),
    "defer": (defer, 1, set()),
    "undefer": (undefer, 1, set()),
    "close": (close, 1, {"reason", "force"}),
    "reopen": (reopen, 1, set()),
    "delete": (delete, 1, {"force"}),
    "rename": (rename, 2, set()),
    "promote": (promote, 1, set()),
    "dep": (dep, 3, {"type"}),
    "label": (label, 3, set()),
    "config": (config, 3, set()),
    "dolt": (dolt, 1, set()),
    "flatten": (flatten, 0, {"force"}),
    "compact": (compact, 0, {"force", "days"}),
    "gc": (nothing, 0, {"force"}),
    "purge": (nothing, 0, {"force"}),
    "ready": (ready, 0, {"json", "assignee", "limit"}),
    "blocked": (blocked, 0, {"json"}),
    "list": (listed, 0, {"json", "all"}),
    "show": (show, 1, {"json"}),
    "sql": (sql, 1, set()),
}
READS = {"ready", "blocked", "list", "show"}
"""Commands that open the database to read. For these, bd 1.0.2 commits nothing first."""


def parse(arguments: list[str]) -> tuple[str, list[str], dict[str, Any]]:
    """Return the name of the command, its words and its options.

    Raises Refused for an option without a recording.
    """
    name, *rest = arguments
    _, count, allowed = COMMANDS[name]
    words: list[str] = []
    options: dict[str, Any] = {}
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        key, equals, value = word.partition("=")
        if key in TEXT and TEXT[key] in allowed:
            if not equals and not rest:
                raise Refused(f"flag needs an argument: {word}")
            options[TEXT[key]] = value if equals else rest.pop(0)
        elif word in FLAGS and word[2:] in allowed:
            options[word[2:]] = True
        elif re.match("-.", word):
            raise Refused(
                f"unknown flag: {word} (bd {name} {word} is not recorded: this stand-in does not"
                " offer it)"
            )
        else:
            words.append(word)
    if len(words) != count:
        raise Refused(f"bd {name} takes {count} arguments, not {len(words)}")
    return name, words, options


def prepare(tracker: Tracker, name: str) -> None:
    """Perform the actions of bd when it opens the database, before the command."""
    if tracker.dialect.sweeps and name not in READS:
        tracker.commit("schema: auto-migrate", SWEPT, author="")
    if tracker.dialect.leases:
        from tests.standin.schema import JOURNAL, complete

        if not tracker.rows("SELECT 1 FROM dolt_ignore WHERE pattern = %s", [JOURNAL]):
            complete(tracker)
