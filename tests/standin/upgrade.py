"""The first command of a newer bd on an older tracker, for the recorded upgrades from 1.0.2.

Tests whose history contains a schema change use ``upgrade_to``. bd 1.2.2 leaves most of the
migration uncommitted. The 1.3 line makes one commit for each migration, and leaves three tables
uncommitted.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import Any

from dolt_watch.engines.address import ServerAddress
from tests.standin import recorded
from tests.standin.dialect import DIALECTS, Dialect, of_schema
from tests.standin.tracker import SPACE, Refused, Row, connect, edge_id

RECORDINGS = {"1.2.2": "bd-upgrade-1.0.2-to-1.2.2", "1.3": "bd-upgrade-1.0.2-to-1.3-main"}
CASCADE = "ON DELETE CASCADE ON UPDATE CASCADE"
FOREIGN = {
    "comments": "fk_comments_issue",
    "compaction_snapshots": "fk_comp_snap_issue",
    "events": "fk_events_issue",
    "issue_snapshots": "fk_snapshots_issue",
    "labels": "fk_labels_issue",
}
TARGET = "COALESCE(depends_on_issue_id, depends_on_wisp_id, depends_on_external)"
OWN_IDS = ("comments", "compaction_snapshots", "events", "issue_snapshots")


def upgrade_to(address: ServerAddress, dialect: str) -> None:
    """Migrate the tracker's database like the first command of the newer bd. Raises Refused."""
    env = {"BEADS_DOLT_PASSWORD": address.password}
    where = {
        "dolt_server_host": address.host,
        "dolt_server_port": address.port,
        "dolt_server_user": address.user,
    }
    with closing(connect(env, where, address.database)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT MAX(version) AS n FROM schema_migrations")
            before = of_schema(int(cursor.fetchone()["n"]))
        upgrade(connection, before, DIALECTS[dialect])


def upgrade(connection: Any, before: Dialect, after: Dialect) -> None:
    """Migrate the database of an open connection with autocommit.

    Raises Refused for an upgrade without a recording.
    """
    if before.name != "1.0.2" or after.name not in RECORDINGS:
        raise Refused(f"no recording holds an upgrade from {before.name} to {after.name}")
    Upgrade(connection, after).run()


class Upgrade:
    def __init__(self, connection: Any, dialect: Dialect) -> None:
        self.connection, self.dialect = connection, dialect
        folder = recorded.HERE / RECORDINGS[dialect.name]
        self.schema = recorded.value(folder, "schema.json")
        steps = recorded.steps(folder)
        self.step = next(
            step
            for step in steps
            if any("schema_migrations" in commit["tables"] for commit in step["commits"])
        )
        self.by_number: dict[int, Callable[[], None]] = {
            41: self.split_targets,
            42: self.cascade,
            44: lambda: self.view("ready_issues"),
            45: lambda: self.view("blocked_issues"),
            46: self.add_is_blocked,
            48: self.widen_events,
            49: self.widen_texts,
            50: self.derive_edges,
            51: self.drop_defaults,
            52: self.add_indexes,
        }
        if dialect.leases:
            self.by_number |= {
                54: self.add_row_lock,
                55: self.drop_lease_columns,
                56: lambda: self.sql(
                    "CREATE INDEX idx_comments_issue_created_id ON comments (issue_id,"
                    " created_at, id)"
                ),
                60: lambda: self.sql("ALTER TABLE issues ADD COLUMN storage_class VARCHAR(16)"),
                63: lambda: self.sql(self.schema["tables"]["provenance_events"]),
            }

    # -- SQL --------------------

    def sql(self, text: str, *parameters: Any) -> list[Row]:
        with self.connection.cursor() as cursor:
            cursor.execute(text, parameters or None)
            return list(cursor.fetchall())

    def insert(self, table: str, row: Row) -> None:
        names = ", ".join(f"`{name}`" for name in row)
        self.sql(
            f"INSERT INTO `{table}` ({names}) VALUES ({', '.join(['%s'] * len(row))})",
            *row.values(),
        )

    def commit(self, message: str, tables: list[str]) -> None:
        for table in tables:
            self.sql("CALL DOLT_ADD(%s)", table)
        self.sql("CALL DOLT_COMMIT('--allow-empty', '-m', %s)", message)

    # -- the upgrade --------------------

    def run(self) -> None:
        self.sql("SET foreign_key_checks = 0")
        self.sql("ALTER TABLE schema_migrations ADD COLUMN content_hash CHAR(64)")
        events = self.sql("SELECT * FROM events")
        for commit in self.step["commits"]:
            self.replay(commit)
        if not self.dialect.leases:
            self.uncommitted()
        self.local_tables()
        if self.dialect.events_ignored:
            for row in events:
                self.insert("events", row | {"id": derived("events", row)})
            self.rename_rows("comments")
            self.sql("INSERT IGNORE INTO bd_events_seq (id, next_seq) VALUES (0, 0)")
        else:
            self.rename_rows("comments")
            self.rename_rows("events")
        self.sql("SET foreign_key_checks = 1")

    def replay(self, commit: Row) -> None:
        """Replay one recorded commit.

        The commit contains the statements of the migration and the recorded rows of bd's system
        tables.
        """
        tables = commit["tables"]
        number = re.match(r"schema: apply migration (\d+)_", commit["message"])
        if number:
            self.by_number.get(int(number[1]), lambda: None)()
        if "drop versioned events" in commit["message"]:
            self.sql("DROP TABLE events")
        for name in ("schema_migrations", "dolt_ignore", "dolt_nonlocal_tables"):
            for row in tables.get(name, []):
                self.row_of(name, row)
        self.commit(commit["message"], sorted(tables))

    def row_of(self, table: str, row: Row) -> None:
        if row["type"] == "added":
            self.insert(table, row["row"])
        elif row["type"] == "removed":
            key = next(iter(row["row"]))
            self.sql(f"DELETE FROM `{table}` WHERE `{key}` = %s", row["row"][key])

    def uncommitted(self) -> None:
        """Perform the migrations that bd 1.2.2 leaves uncommitted."""
        for number in sorted(self.by_number):
            self.by_number[number]()
        for name in ("schema_migrations", "dolt_ignore"):
            for row in self.step["uncommitted"].get(name, []):
                self.row_of(name, row)

    # -- migrations --------------------

    def cascade(self) -> None:
        self.sql("SET foreign_key_checks = 1")
        for table, key in FOREIGN.items():
            self.sql(f"ALTER TABLE {table} DROP FOREIGN KEY {key}")
            self.sql(
                f"ALTER TABLE {table} ADD CONSTRAINT {key} FOREIGN KEY (issue_id) REFERENCES issues"
                f" (id) {CASCADE}"
            )
        self.sql(
            "ALTER TABLE child_counters ADD CONSTRAINT fk_counter_parent"
            f" FOREIGN KEY (parent_id) REFERENCES issues (id) {CASCADE}"
        )
        self.sql("SET foreign_key_checks = 0")

    def view(self, name: str) -> None:
        from tests.standin.schema import views

        (text,) = (each for each in views(True) if f"VIEW {name} AS" in each)
        self.sql(text)

    def split_targets(self) -> None:
        """Rewrite both tables of dependencies in their new form.

        The targets get a new ``updated_at``, as in the recording.
        """
        for row in self.sql("SELECT DISTINCT depends_on_id AS id FROM dependencies"):
            self.sql("UPDATE issues SET updated_at = UTC_TIMESTAMP() WHERE id = %s", row["id"])
        wisps = {row["id"] for row in self.sql("SELECT id FROM wisps")}
        for table in ("dependencies", "wisp_dependencies"):
            rows = self.sql(f"SELECT * FROM {table}")
            self.sql(f"DROP TABLE {table}")
            self.sql(self.schema["tables"][table])
            for row in rows:
                target = row.pop("depends_on_id")
                kind = (
                    "external"
                    if target.startswith("external:")
                    else "wisp_id"
                    if target in wisps
                    else "issue_id"
                )
                self.insert(table, row | {"id": str(uuid.uuid4()), f"depends_on_{kind}": target})

    def derive_edges(self) -> None:
        for table in ("dependencies", "wisp_dependencies"):
            for row in self.sql(f"SELECT id, issue_id, {TARGET} AS target FROM {table}"):
                key = edge_id(row["issue_id"], row["target"])
                self.sql(f"UPDATE {table} SET id = %s WHERE id = %s", key, row["id"])

    def add_is_blocked(self) -> None:
        from tests.standin.beads import blocked_with_parents

        for table in ("issues", "wisps"):
            self.sql(f"ALTER TABLE {table} ADD COLUMN is_blocked TINYINT(1) NOT NULL DEFAULT '0'")
        self.sql("CREATE INDEX idx_issues_is_blocked ON issues (is_blocked, status)")
        status = {
            row["id"]: row["status"]
            for row in self.sql("SELECT id, status FROM issues UNION SELECT id, status FROM wisps")
        }
        edges = self.sql(
            f"SELECT issue_id, {TARGET} AS depends_on_id, type FROM dependencies"
            f" UNION ALL SELECT issue_id, {TARGET} AS depends_on_id, type FROM wisp_dependencies"
        )
        for bead in sorted(blocked_with_parents(edges, status)):
            for table in ("issues", "wisps"):
                self.sql(
                    f"UPDATE {table} SET is_blocked = 1, updated_at = UTC_TIMESTAMP() WHERE id"
                    " = %s",
                    bead,
                )

    def widen_events(self) -> None:
        self.sql(
            "ALTER TABLE events MODIFY COLUMN old_value LONGTEXT, MODIFY COLUMN new_value LONGTEXT"
        )

    def widen_texts(self) -> None:
        self.sql("ALTER TABLE comments MODIFY COLUMN text LONGTEXT NOT NULL")
        for name in ("description", "design", "acceptance_criteria", "notes"):
            self.sql(f"ALTER TABLE issues MODIFY COLUMN {name} LONGTEXT NOT NULL")
        self.sql("ALTER TABLE issues MODIFY COLUMN close_reason LONGTEXT DEFAULT ''")

    def drop_defaults(self) -> None:
        for table in OWN_IDS:
            self.sql(f"ALTER TABLE {table} MODIFY COLUMN id CHAR(36) NOT NULL")

    def add_indexes(self) -> None:
        self.sql("CREATE INDEX idx_issues_defer_until ON issues (defer_until)")
        self.sql("CREATE INDEX idx_issues_status_updated_at ON issues (status, updated_at)")
        self.sql("DROP INDEX idx_issues_status ON issues")

    def add_row_lock(self) -> None:
        self.sql(
            "ALTER TABLE issues ADD COLUMN lease_expires_at DATETIME, ADD COLUMN heartbeat_at"
            " DATETIME"
        )
        self.sql("ALTER TABLE issues ADD COLUMN row_lock BIGINT NOT NULL DEFAULT '0'")

    def drop_lease_columns(self) -> None:
        self.sql("ALTER TABLE issues DROP COLUMN lease_expires_at, DROP COLUMN heartbeat_at")

    # -- changes after the commits --------------------

    def local_tables(self) -> None:
        """Rewrite the tables that no commit contains in their new form, with their rows."""
        patterns = [
            re.compile(each["pattern"].replace("%", ".*")) for each in self.schema["ignored"]
        ]
        tables = {next(iter(row.values())) for row in self.sql("SHOW TABLES")}
        for name, text in self.schema["tables"].items():
            if name == "wisp_dependencies" or not any(each.fullmatch(name) for each in patterns):
                continue
            there = name in tables
            rows = self.sql(f"SELECT * FROM `{name}`") if there else []
            if there:
                self.sql(f"DROP TABLE `{name}`")
            self.sql(text)
            for row in rows:
                self.insert(name, row)

    def rename_rows(self, table: str) -> None:
        """Replace the IDs of all rows with IDs derived from the content."""
        for row in self.sql(f"SELECT * FROM {table}"):
            self.sql(f"UPDATE {table} SET id = %s WHERE id = %s", derived(table, row), row["id"])


def derived(table: str, row: Row) -> str:
    content = {name: value for name, value in row.items() if name != "id"}
    return str(
        uuid.uuid5(SPACE, table + json.dumps(content, sort_keys=True, default=str) + str(row["id"]))
    )
