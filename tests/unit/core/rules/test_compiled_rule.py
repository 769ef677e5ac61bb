"""Compiled rules answer as MySQL does, and each error points at the rejected text."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from typing import Any

import orjson
import pytest

from dolt_watch.core.model import Rule
from dolt_watch.core.rules.compiled_rule import (
    CompiledRule,
    Conjunct,
    compile_for,
    compile_rule,
    fingerprint,
)
from dolt_watch.errors import RuleError
from tests.support.beads import SHAPES_FOLDER

_ISSUES = (
    (SHAPES_FOLDER / "1.0.2.sql").read_text().split("CREATE TABLE `issues` (")[1].split("\n);")[0]
)
COLUMNS = {
    name: kind for name, kind in re.findall(r"^  `(\w+)` (\w+(?:\(\d+\))?)", _ISSUES, re.MULTILINE)
} | {
    "order": "int",
    # An SQL keyword that MySQL accepts as a name in this position.
    "comment": "text",
}

ROW = {
    "id": "b-1",
    "title": "Äpfel",
    "status": "open",
    "notes": "n",
    "assignee": "agent",
    "priority": 5,
    "pinned": 1,
}
ROW |= {
    "acceptance_criteria": "done",
    "updated_at": "2026-01-02 03:04:05",
    "owner": None,
    "order": 7,
    "comment": "c",
}


def compiled(when: str, dialect: str = "sqlite", **more: str) -> CompiledRule:
    return compile_rule(Rule("r", when=when, **more), COLUMNS, dialect)  # type: ignore[arg-type]


def ask(text: str, row: dict[str, Any], prefix: str = "", params: tuple[Any, ...] = ()) -> Any:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("PRAGMA case_sensitive_like = ON")
        names = ", ".join(
            f"`{prefix}{name}` {'INT' if isinstance(v, int) else 'TEXT'}" for name, v in row.items()
        )
        connection.execute(f"CREATE TABLE t ({names})")
        connection.execute(
            f"INSERT INTO t VALUES ({', '.join('?' * len(row))})", tuple(row.values())
        )
        return connection.execute(f"SELECT {text} FROM t", params).fetchone()[0]
    finally:
        connection.close()


def refused(when: str, **more: str) -> tuple[RuleError, int]:
    """Return the error and the position of its caret."""
    with pytest.raises(RuleError) as caught:
        compiled(when, **more)
    error = caught.value
    assert error.where and error.fix
    place, _, caret = error.where.split("\n")
    at = len(caret) - 5
    assert caret == " " * (at + 4) + "^"
    assert place.endswith(f", column {at + 1}:")
    return error, at


def test_a_chain_may_be_as_long_as_it_is_allowed() -> None:
    assert ask(compiled(" OR ".join(["title = 'x'"] * 398)).when_row, ROW) == 0


@pytest.mark.parametrize(
    ("when", "answer"),
    [
        ("assignee = 'agent' AND status = 'open' AND acceptance_criteria <> ''", 1),
        ("ASSIGNEE = 'AGENT'", 0),
        ("comment = 'c' AND Comment <> 'C'", 1),
        ("owner = 'x'", None),
        ("owner <=> NULL", 1),
        ("owner IS NOT NULL", 0),
        ("pinned", 1),
        ("!pinned", 0),
        ("NOT pinned OR pinned IS TRUE", 1),
        ("title LIKE 'äpf%'", 0),
        ("title NOT LIKE 'Äp_el'", 0),
        ("title LIKE 'Äpf\\%'", 0),
        ("CONCAT(title, '%') LIKE '%\\%'", 1),
        ("title LIKE 'Ä|%' ESCAPE '|'", 0),
        ("title LIKE 'Ä%' ESCAPE ''", 1),
        ("COALESCE(pinned, FALSE)", 1),
        ("LENGTH(title) = 6 AND CHAR_LENGTH(title) = 5", 1),
        ("LEFT(title, 2) = 'Äp' AND RIGHT(title, 2) = 'el' AND RIGHT(title, 0) = ''", 1),
        (
            (
                "RIGHT(title, 99) = title AND SUBSTRING(title, 2, 2) = 'pf' AND SUBSTRING(title"
                " FROM -2) = 'el'"
            ),
            1,
        ),
        ("REPLACE(title, 'pf', '') = 'Äel'", 1),
        ("CONCAT(owner, 'x') IS NULL AND CONCAT('a', 1 + 1, 'b') = 'a2b'", 1),
        ("IFNULL(owner, 'x') = 'x' AND COALESCE(owner) IS NULL AND NULLIF(priority, 5) IS NULL", 1),
        ("IF(priority > 3, pinned, FALSE)", 1),
        (
            (
                "CASE WHEN priority = 5 THEN TRUE ELSE FALSE END AND CASE status WHEN 'open' THEN 1"
                " END = 1"
            ),
            1,
        ),
        (
            (
                "priority / 2 = 2.5 AND priority DIV 2 = 2 AND priority MOD 2 = 1 AND MOD(priority,"
                " 2) = 1 AND -priority < 0"
            ),
            1,
        ),
        (
            (
                "priority IN (1, 5) AND priority NOT IN (2) AND priority BETWEEN 5 AND 6 AND"
                " ABS(-priority) = 5"
            ),
            1,
        ),
        ("LOWER(status) = 'open' && UPPER(status) = 'OPEN' && TRIM(' open ') = status", 1),
        ("status = 'x' || status = 'open'", 1),
        ("updated_at > '2026-01-01' -- since ? January", 1),
        ("`order` = 7 /* ; */ AND title <> 'it''s ? \\\\'", 1),
        ("title = 'Äp' 'fel'", 1),
    ],
)
def test_sqlite_answers_as_mysql_would(when: str, answer: int | None) -> None:
    rule = compiled(when)
    assert ask(rule.when_row, ROW) == answer
    assert ask(rule.when_from, ROW, "from_") == answer
    assert ask(rule.when_to, ROW, "to_") == answer
    assert "--" not in rule.when_row and "/*" not in rule.when_row
    again = compile_rule(Rule("r", when=compiled(when, "mysql").when_row), COLUMNS, "sqlite")
    # The text for MySQL gives the same answer.
    assert ask(again.when_row, ROW) == answer


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_every_column_of_beads_can_be_used(name: str) -> None:
    # An SQL keyword needs backquotes, as in MySQL.
    if name != "order":
        assert compiled(f"{name} IS NOT NULL").columns[0] in (name, "priority")
    assert f"`to_{name}`" in compiled(f"`{name}` IS NOT NULL", order_by=f"`{name}` DESC").rank_to


@pytest.mark.parametrize(
    ("when", "assignee", "status", "runs"),
    [
        (
            "(assignee = 'a' OR assignee = 'b') AND status = 'open' AND priority < 3",
            "b",
            "in_progress",
            1,
        ),
        ("(assignee = 'a' OR assignee = 'b') AND status = 'open'", "c", "in_progress", 0),
        ("((assignee = 'a') AND status = 'open')", "a", "open", 0),
        ("status = 'open' AND (assignee = 'a' OR priority = 5)", "z", "in_progress", 1),
        ("status = 'open' AND (assignee = 'a' OR priority = 6)", "z", "in_progress", 0),
        ("status = 'blocked'", "a", "in_progress", 0),
        (
            "assignee <> 'a' AND status = 'open' AND assignee <> 'b' AND assignee <> 'c'",
            "b",
            "in_progress",
            0,
        ),
        (
            "assignee <> 'a' AND status = 'open' AND assignee <> 'b' AND assignee <> 'c'",
            "c",
            "in_progress",
            0,
        ),
        (
            "assignee <> 'a' AND status = 'open' AND assignee <> 'b' AND assignee <> 'c'",
            "d",
            "in_progress",
            1,
        ),
    ],
)
def test_running_is_derived(when: str, assignee: str, status: str, runs: int) -> None:
    rule = compiled(when)
    row = ROW | {"assignee": assignee, "status": status}
    assert ask(rule.running_row, row) == runs
    assert ask(rule.running_from, row, "from_") == runs
    assert ask(rule.running_to, row, "to_") == runs


def test_running_as_written() -> None:
    rule = compiled("pinned", running="owner = 'x'")
    assert rule.running_row == "(`owner` = 'x')"
    assert rule.columns == ("owner", "pinned", "priority", "updated_at")
    assert "running, column 1" in str(refused("pinned", running="title")[0].where)


def test_order_keys() -> None:
    rule = compiled("pinned", order_by="priority, IF(title = 'a', 1, 2) desc, updated_at ASC")
    assert rule.descending == (False, True, False)
    assert [ask(key, ROW) for key in rule.rank_row] == [5, 2, ROW["updated_at"]]
    assert rule.rank_to[0] == "`to_priority`"
    assert compiled("pinned", order_by="").rank_to == ()


def test_put_back() -> None:
    rule = compiled(
        "CONCAT(notes, status) <> 'why?' AND title <> notes AND status = 'open' AND assignee ="
        " 'agent'"
    )
    assert rule.put_back == ("notes", "status", "notes", "status")
    old = {"status": "open", "notes": "x"}
    row = ROW | {"status": "in_progress"}
    assert ask(rule.when_row, row) == 0
    assert ask(rule.when_before_claim, row, params=tuple(old[name] for name in rule.put_back)) == 1
    none = compiled("pinned")
    assert (none.when_before_claim, none.put_back) == (none.when_row, ())


def test_json_round_trip() -> None:
    rule = compiled("status = 'open'", order_by="priority DESC")
    assert CompiledRule.from_json(orjson.loads(orjson.dumps(rule.to_json()))) == rule


def test_fingerprint() -> None:
    one = fingerprint([Rule("r")], COLUMNS, "mysql", "1")
    assert one == fingerprint([Rule("r")], dict(reversed(COLUMNS.items())), "mysql", "1")
    others = [
        fingerprint([Rule("s")], COLUMNS, "mysql", "1"),
        fingerprint([Rule("r", when="pinned")], COLUMNS, "mysql", "1"),
        fingerprint([Rule("r", order_by="id")], COLUMNS, "mysql", "1"),
        fingerprint([Rule("r")], COLUMNS | {"x": "int"}, "mysql", "1"),
        fingerprint([Rule("r")], COLUMNS, "sqlite", "1"),
        fingerprint([Rule("r")], COLUMNS, "mysql", "2"),
    ]
    assert len({one, *others}) == 7


def test_sqlglot_is_not_imported_for_cached_text() -> None:
    code = "import sys, dolt_watch.core.rules.compiled_rule; sys.exit('sqlglot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_table_without_status() -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule(Rule("r", when="a = 1", order_by="a"), {"a": "int"}, "mysql")
    error = caught.value
    assert error.message == 'The table issues has no column status, so "running" can\'t be derived.'
    assert (error.where, error.fix) == ("rules.r.running", "Set `running` in [rules.r].")
    said = compile_rule(
        Rule("r", when="a = 1", running="a = 2", order_by="a"), {"a": "int"}, "mysql"
    )
    assert said.running_row == "(`a` = 2)"


def test_a_dialect_that_nobody_speaks() -> None:
    with pytest.raises(ValueError, match="Unknown dialect: 'oracle'"):
        compiled("pinned", "oracle")


def test_the_whole_of_a_compiled_rule() -> None:
    """Expressions on the diff use the engine's dialect.

    Expressions on the row use MySQL's dialect if ``Engine.query`` transpiles them.
    """
    when, running = "LEFT(notes, 1) = 'x' AND assignee = 'a'", "LEFT(status, 3) = 'in_'"
    rule = Rule("r", when=when, running=running, order_by="CONCAT(title, 'x') DESC")

    def matches(prefix: str) -> str:
        return f"(SUBSTRING(`{prefix}notes`, 1, 1) = 'x' AND `{prefix}assignee` = 'a')"

    def runs(prefix: str) -> str:
        return f"(SUBSTRING(`{prefix}status`, 1, 3) = 'in_')"

    sqlite = CompiledRule(
        rule="r",
        when_from=matches("from_"),
        when_to=matches("to_"),
        when_row=matches(""),
        running_from=runs("from_"),
        running_to=runs("to_"),
        running_row=runs(""),
        rank_to=("((`to_title`) || ('x'))",),
        rank_row=("((`title`) || ('x'))",),
        descending=(True,),
        columns=("assignee", "notes", "status", "title"),
        when_before_claim="(SUBSTRING(?, 1, 1) = 'x' AND `assignee` = 'a')",
        put_back=("notes",),
        parts=(
            Conjunct("LEFT(notes, 1) = 'x'", "(LEFT(`notes`, 1) = 'x')", ("notes",)),
            Conjunct("assignee = 'a'", "(`assignee` = 'a')", ("assignee",)),
        ),
    )
    assert compile_rule(rule, COLUMNS, "sqlite") == sqlite
    assert compile_for(rule, COLUMNS, "sqlite") == sqlite._replace(
        when_row="(LEFT(`notes`, 1) = 'x' AND `assignee` = 'a')",
        running_row="(LEFT(`status`, 3) = 'in_')",
        rank_row=("CONCAT(`title`, 'x')",),
        when_before_claim="(LEFT(?, 1) = 'x' AND `assignee` = 'a')",
    )
    assert compile_for(rule, COLUMNS, "mysql") == compile_rule(rule, COLUMNS, "mysql")


def test_what_is_put_back_where_an_engine_says_a_column_twice() -> None:
    rule = Rule("r", when="RIGHT(notes, CHAR_LENGTH(status)) = 'x'", order_by="id")
    assert compile_rule(rule, COLUMNS, "sqlite").put_back == ("notes", "status", "status")
    compiled_for = compile_for(rule, COLUMNS, "sqlite")
    assert (compiled_for.when_before_claim.count("?"), compiled_for.put_back) == (
        2,
        ("notes", "status"),
    )


def test_a_name_with_a_backtick() -> None:
    rule = compile_rule(
        Rule("r", when="`a``b` = 1", running="`a``b` = 2", order_by=""), {"a`b": "int"}, "sqlite"
    )
    assert (rule.when_to, rule.columns) == ("(`to_a``b` = 1)", ("a`b",))
