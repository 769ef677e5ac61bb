"""Replay of recorded commands, and a reader of their results in the format of the recording."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import pymysql
from pymysql.cursors import DictCursor

from tests.support.beads import Workspace
from tests.support.servers import Server

Difference = dict[str, list[dict[str, Any]]]
"""Table → changed rows."""
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?")
HASH = re.compile(r"\b[0-9a-f]{64}\b")
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
RANDOM = ("row_lock", "revision")
BRACKETS = re.compile(r"\[[^]\n]*\]")


class Reader:
    """A reader of one database. Its connection sees each commit of other connections."""

    def __init__(self, server: Server, database: str) -> None:
        self.connection = server.connect(database, cursorclass=DictCursor)

    def rows(self, text: str) -> list[dict[str, Any]]:
        with self.connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall())

    def close(self) -> None:
        self.connection.close()

    def head(self) -> str:
        return str(self.rows("SELECT HASHOF('HEAD') AS h")[0]["h"])

    def commits(self) -> list[dict[str, Any]]:
        """Return all commits, newest first."""
        return self.rows("SELECT commit_hash, message, committer, email FROM dolt_log")

    def difference(self, table: str, begin: str, end: str) -> list[dict[str, Any]]:
        rows = self.rows(f"SELECT * FROM DOLT_DIFF('{begin}', '{end}', '{table}')")
        return [changed for row in rows if (changed := of_diff(row))]

    def key(self, table: str, commit: str) -> str:
        """Return a table's primary key at a commit, or '' if the table doesn't exist."""
        try:
            text = str(
                self.rows(f"SHOW CREATE TABLE `{table}` AS OF '{commit}'")[0]["Create Table"]
            )
        except pymysql.MySQLError:
            return ""
        return next((line for line in text.splitlines() if "PRIMARY KEY" in line), "").strip(" ,")

    def since(self, head: str) -> list[dict[str, Any]]:
        """Return the contents of the commits after ``head``, oldest first."""
        log = self.commits()
        hashes = [each["commit_hash"] for each in log]
        if head not in hashes:
            messages = [each["message"] for each in log]
            return [{"history_rewritten": True, "commits_now": len(log), "messages": messages}]
        found = []
        for number in range(hashes.index(head) - 1, -1, -1):
            one = log[number]
            names = self.rows(
                f"SELECT table_name FROM dolt_diff WHERE commit_hash = '{one['commit_hash']}'"
            )
            begin, end = hashes[number + 1], hashes[number]
            tables = {
                name: self.difference(name, begin, end)
                for name in sorted(each["table_name"] for each in names)
                if len({self.key(name, begin), self.key(name, end)} - {""})
                < 2  # for a changed key, recordings contain no rows either
            }
            author = f"{one['committer']} <{one['email']}>"
            found.append({"message": one["message"], "author": author, "tables": tables})
        return found

    def schema(self) -> dict[str, Any]:
        """Return the schema in the format of a recording's ``schema.json``."""
        kinds = {row[next(iter(row))]: row["Table_type"] for row in self.rows("SHOW FULL TABLES")}
        names = sorted(name for name, kind in kinds.items() if kind == "BASE TABLE")
        return {
            "tables": {
                name: self.rows(f"SHOW CREATE TABLE `{name}`")[0]["Create Table"] for name in names
            },
            "views": sorted(name for name, kind in kinds.items() if kind == "VIEW"),
            "config": self.rows("SELECT `key`, value FROM config ORDER BY `key`"),
            "ignored": self.rows("SELECT ignored, pattern FROM dolt_ignore ORDER BY pattern"),
            "schema_version": self.rows("SELECT MAX(version) AS n FROM schema_migrations")[0]["n"],
        }

    def uncommitted(self) -> Difference:
        names = {row["table_name"] for row in self.rows("SELECT table_name FROM dolt_status")}
        return {name: self.difference(name, "HEAD", "WORKING") for name in sorted(names)}

    def ignored(self) -> Difference:
        """Return all rows of the tables that ``dolt_ignore`` excludes from history."""
        patterns = [
            row["pattern"] for row in self.rows("SELECT pattern FROM dolt_ignore WHERE ignored")
        ]
        names = [next(iter(row.values())) for row in self.rows("SHOW TABLES")]
        match = [re.compile(pattern.replace("%", ".*")) for pattern in patterns]
        return {
            name: self.rows(f"SELECT * FROM `{name}`")
            for name in sorted(names)
            if any(each.fullmatch(name) for each in match)
        }


def of_diff(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return a row of ``DOLT_DIFF`` in the format of the recording.

    Returns None if no recorded cell differs.
    """
    skip = ("commit", "commit_date")
    before = {k[5:]: v for k, v in row.items() if k.startswith("from_") and k[5:] not in skip}
    after = {k[3:]: v for k, v in row.items() if k.startswith("to_") and k[3:] not in skip}
    kind = row["diff_type"]
    if kind != "modified":
        cells = after if kind == "added" else before
        return {
            "type": kind,
            "row": {name: value for name, value in cells.items() if value is not None},
        }
    names = dict.fromkeys([*before, *after])
    changed = {
        name: [before.get(name), after.get(name)]
        for name in names
        if before.get(name) != after.get(name)
    }
    key = {name: after[name] for name in ("id", "issue_id") if name in after}
    return {"type": kind, "key": key, "changed": changed}


def between(before: Difference, after: Difference) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the added and removed rows between two complete readings of tables."""
    found = {}
    for name in sorted({*before, *after}):
        old, new = before.get(name, []), after.get(name, [])
        one = {
            "added": [row for row in new if row not in old],
            "removed": [row for row in old if row not in new],
        }
        if any(one.values()):
            found[name] = {kind: rows for kind, rows in one.items() if rows}
    return found


class Names:
    """Replacement of bead IDs by the order of their first appearance."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    def add(self, bead: str) -> None:
        parent, dot, number = bead.rpartition(".")
        if dot and parent in self.known:
            self.known.setdefault(bead, f"{self.known[parent]}.{number}")
        else:
            self.known.setdefault(bead, f"<{len(self.known)}>")

    def hide(self, text: str) -> str:
        for bead in sorted(self.known, key=len, reverse=True):
            text = re.sub(rf"(?<![\w-]){re.escape(bead)}(?![\w-])", self.known[bead], text)
        return text


def plain(value: Any, names: Names) -> Any:
    """Return a value without the parts that differ per run: IDs, hashes, times, random numbers."""
    if isinstance(value, dict):
        return {
            key: "RANDOM" if key in RANDOM and each else plain(each, names)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [plain(each, names) for each in value]
    if isinstance(value, datetime):
        return "TIME"
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        text = names.hide(HASH.sub("HASH", UUID.sub("UUID", TIME.sub("TIME", value))))
        return (
            BRACKETS.sub(lambda found: "[" + " ".join(sorted(found[0][1:-1].split())) + "]", text)
            if "blocked by" in text
            else text
        )
    return value


def in_order(rows: Iterable[Any]) -> list[Any]:
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True, default=str))


def comparable(tables: Any, names: Names) -> Any:
    """Return the tables of a commit or of the working set, with their rows in a fixed order.

    The result omits ``updated_at`` and all rows and tables without another change. The column
    contains whole seconds, so a change depends on the clock.
    """
    found = {}
    for name, rows in tables.items():
        shown = []
        for row in plain(rows, names):
            if "changed" in row:
                changed = {k: locked(k, v) for k, v in row["changed"].items() if k != "updated_at"}
                if not changed:
                    continue
                row = row | {"changed": changed}
            shown.append(row)
        if shown or not rows:
            found[name] = in_order(shown)
    return found


def locked(name: str, cells: Any) -> Any:
    return ["RANDOM", "RANDOM"] if name in RANDOM and cells[1] else cells


def rows_gone_and_come(tables: Any, names: Names) -> Any:
    """Return the changed rows of ignored tables, without pairs that are equal after ``plain``."""
    found = {}
    for name, kinds in tables.items():
        added = [
            {k: v for k, v in row.items() if v is not None}
            for row in plain(kinds.get("added", []), names)
        ]
        removed = [
            {k: v for k, v in row.items() if v is not None}
            for row in plain(kinds.get("removed", []), names)
        ]
        for row in list(added):
            if row in removed:
                added.remove(row)
                removed.remove(row)
        if added or removed:
            found[name] = {"added": in_order(added), "removed": in_order(removed)}
    return found


def commits_of(recorded: list[dict[str, Any]], names: Names) -> list[Any]:
    """Return commits with their changed rows. Omits tables without changed rows."""
    return [
        {**plain({k: v for k, v in each.items() if k != "tables"}, names)}
        | (
            {"tables": {n: rows for n, rows in comparable(each["tables"], names).items() if rows}}
            if "tables" in each
            else {}
        )
        for each in recorded
    ]


def actor_of(step: dict[str, Any]) -> str:
    """Return the actor of a recorded command.

    The actor is the agent for claims, heartbeats, and commands whose rows name the agent.
    """
    words = step["args"]
    if words[0] == "heartbeat" or "--claim" in words:
        return "agent"
    if words[0] == "comment":
        tables = [step["uncommitted"], *(each.get("tables", {}) for each in step["commits"])]
        rows = [row.get("row", {}) for each in tables for row in each.get("comments", [])]
        return next((row["author"] for row in rows if row.get("text") == words[-1]), "ada")
    swept = "schema: auto-migrate"
    told = [each for each in step["commits"] if each.get("message") != swept]
    return "agent" if '"actor": "agent"' in json.dumps([told, step.get("ignored", {})]) else "ada"


def objects(text: str) -> list[Any]:
    """Return the complete objects of a JSON list. The beginning of the list may be missing."""
    found = [
        json.loads(part) for part in re.findall(r"^  \{\n.*?^  \}", text, re.MULTILINE | re.DOTALL)
    ]
    for one in found:
        for edges in (one.get("dependencies", []), one.get("dependents", [])):
            edges.sort(
                key=lambda edge: str(edge.get("type") or edge.get("dependency_type"))
            )  # bd sorts by a hash
    return found


Run = Callable[[str, list[str]], "subprocess.CompletedProcess[str]"]


def runner(workspace: Workspace) -> Run:
    """Return a function that runs the workspace's program as an actor."""

    def run(actor: str, words: list[str]) -> subprocess.CompletedProcess[str]:
        return workspace.attempt(*words, actor=actor)

    return run


TOUCHING = ("assign", "note", "update", "defer", "undefer", "close")
"""Commands that set ``updated_at``.

The replay compares the value with the clock, because the recording contains only changes of whole
seconds.
"""


class Player:
    """A player of recorded commands, which compares each result with the recording."""

    def __init__(self, reader: Reader, run: Run) -> None:
        self.reader, self.run = reader, run
        self.theirs, self.ours = Names(), Names()
        self.ids: dict[str, str] = {}
        self.left: Difference | None = None
        """Rows of the ignored tables after the last command."""

    def play(self, step: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        """Run a step and yield each difference: its name, the new and the recorded result."""
        words = [self.ids.get(word, word) for word in step["args"]]
        head = self.reader.head()
        before = self.reader.ignored() if self.left is None else self.left
        start = self.reader.rows("SELECT UTC_TIMESTAMP() AS moment")[0]["moment"].replace(
            microsecond=0
        )
        done = self.run(actor_of(step), words)
        said, verb = step["stdout"].strip(), step["args"][0]
        if verb == "create":
            self.ids[said] = done.stdout.strip()
            self.theirs.add(said)
            self.ours.add(self.ids[said])
        if verb == "rename":
            self.theirs.add(words[2])
            self.ours.add(words[2])
        for what, mine, recorded in self._compared(step, done, head, before):
            if mine != recorded:
                yield what, mine, recorded
        if verb in TOUCHING and step["commits"] and done.returncode == 0:
            rows = self.reader.rows(f"SELECT updated_at FROM issues WHERE id = '{words[1]}'")
            if any(row["updated_at"] < start for row in rows):
                yield "updated_at", str(rows[0]["updated_at"]), f"not before {start}"
        if said and verb != "create":
            shown = plain(objects(done.stdout), self.ours)
            for one in plain(objects(step["stdout"]), self.theirs):
                if one not in shown:
                    yield "stdout", shown, one

    def _compared(
        self,
        step: dict[str, Any],
        done: subprocess.CompletedProcess[str],
        head: str,
        before: Difference,
    ) -> Iterator[tuple[str, Any, Any]]:
        ours, theirs = self.ours, self.theirs
        yield "exit", done.returncode, step["exit"]
        yield "stderr", plain(done.stderr, ours), plain(step["stderr"], theirs)
        yield (
            "commits",
            commits_of(self.reader.since(head), ours),
            commits_of(step["commits"], theirs),
        )
        yield (
            "uncommitted",
            comparable(self.reader.uncommitted(), ours),
            comparable(step["uncommitted"], theirs),
        )
        self.left = self.reader.ignored()
        ignored = between(before, self.left)
        yield (
            "ignored",
            rows_gone_and_come(ignored, ours),
            rows_gone_and_come(step.get("ignored", {}), theirs),
        )
