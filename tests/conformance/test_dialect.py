"""SQL written once: each construct gives the same result on both engines."""

from __future__ import annotations

import re

import pytest

from dolt_watch.engines.doltlite.transpiler import transpile
from dolt_watch.engines.sql_text import split_parameters, split_statements
from dolt_watch.errors import DatabaseError
from dolt_watch.timestamps import to_utc
from tests.conformance.tables import commit, head, make, write

EXPRESSIONS = [
    ("NULL <=> NULL", 1),
    ("'a' <=> NULL", 0),
    ("IF(1 = 1, 'yes', 'no')", "yes"),
    ("CONCAT('a', 'b', 'c')", "abc"),
    ("CONCAT('a', NULL)", None),
    ("LEFT('häuser', 2)", "hä"),
    ("RIGHT('häuser', 3)", "ser"),
    ("RIGHT('ab', 5)", "ab"),
    ("RIGHT('ab', 0)", ""),
    ("RIGHT(LEFT('häuser', CHAR_LENGTH('abc')), LENGTH('ä'))", "äu"),
    ("CHAR_LENGTH('hä🚀')", 3),
    ("LENGTH('hä🚀')", 7),
    ("COALESCE(NULL, 'x')", "x"),
    ("IFNULL(NULL, 'x')", "x"),
    ("NULLIF('x', 'x')", None),
    ("LOWER('ABC')", "abc"),
    ("TRIM('  x ')", "x"),
    ("REPLACE('a-b', '-', '+')", "a+b"),
    ("SUBSTRING('abcdef', 2, 3)", "bcd"),
    ("LOCATE('c', 'abc')", 3),
    ("GREATEST(1, 3, 2)", 3),
    ("CASE WHEN 1 > 2 THEN 'a' ELSE 'b' END", "b"),
    ("CAST(12 AS CHAR)", "12"),
    ("CAST('12' AS SIGNED)", 12),
    ("CAST('12' AS UNSIGNED)", 12),
    ("'A' = 'a'", 0),
    ("'abc' LIKE 'a%'", 1),
    ("'ABC' LIKE 'a%'", 0),
    ("'abc' REGEXP '^a.c$'", 1),
    ("2 IN (1, 2)", 1),
    ("2 BETWEEN 1 AND 3", 1),
    ("NOT (1 = 1)", 0),
    ("TRUE", 1),
    ("JSON_UNQUOTE(JSON_EXTRACT('{\"x\": \"y\"}', '$.x'))", "y"),
    ("7 DIV 2", 3),
    ("'back\\\\slash \\' q'", "back\\slash ' q"),
]


@pytest.mark.parametrize(
    ("expression", "value"), EXPRESSIONS, ids=[text for text, _ in EXPRESSIONS]
)
def test_expression(engine, expression, value):
    """LIKE and = are case-sensitive, as in a column of beads (utf8mb4_0900_bin)."""
    assert engine.query(f"SELECT {expression}") == [(value,)]


def test_the_clock_has_microseconds(engine):
    for call in ("UTC_TIMESTAMP(6)", "NOW(6)", "CURRENT_TIMESTAMP(6)"):
        text = str(engine.query(f"SELECT {call}")[0][0])
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?", text), call


def test_the_clock_written_to_a_datetime_column_has_whole_seconds(engine):
    """The column rounds the microseconds of Dolt's UTC_TIMESTAMP(). MySQL's has none."""
    engine.execute_ddl("CREATE TABLE d (id int PRIMARY KEY, at datetime)")
    write(engine, "INSERT INTO d VALUES (1, UTC_TIMESTAMP())")
    assert to_utc(engine.query("SELECT at FROM d")[0][0]).microsecond == 0


def test_uuid(engine):
    shape = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    first, second = (engine.query("SELECT UUID()")[0][0] for _ in range(2))
    assert re.fullmatch(shape, first)
    assert first != second


def test_insert_ignore(engine):
    make(engine)
    write(engine, "INSERT IGNORE INTO t (id, v) VALUES ('a', 'not taken'), ('c', 'taken')")
    assert engine.query("SELECT id, v FROM t ORDER BY id") == [
        ("a", "1"),
        ("b", "1"),
        ("c", "taken"),
    ]


def test_replace_into(engine):
    make(engine)
    write(engine, "REPLACE INTO t (id, v) VALUES (?, ?), ('c', 'new')", ("a", "replaced"))
    assert engine.query("SELECT id, v FROM t ORDER BY id") == [
        ("a", "replaced"),
        ("b", "1"),
        ("c", "new"),
    ]


def test_on_duplicate_key_update(engine):
    make(engine)
    for value in ("x", "y"):
        write(
            engine,
            "INSERT INTO t (id, v, w) VALUES ('c', ?, 'w') ON DUPLICATE KEY UPDATE v = VALUES(v)",
            (value,),
        )
    assert engine.query("SELECT v, w FROM t WHERE id = 'c'") == [("y", "w")]


def test_insert_select_where_not_exists(engine):
    make(engine)
    sql = "INSERT INTO t (id, v) SELECT ?, 'x' WHERE NOT EXISTS (SELECT 1 FROM t WHERE id = ?)"
    write(engine, sql, ("a", "a"))
    write(engine, sql, ("c", "c"))
    assert engine.query("SELECT id, v FROM t ORDER BY id") == [("a", "1"), ("b", "1"), ("c", "x")]


def test_a_column_that_is_gone_as_of_a_commit(engine):
    """A dropped column can be read at an old commit, quoted or not.

    If the commit is a parameter, DoltLite resolves names by the current schema. SQLite reads an
    unknown quoted name as text. So a statement with a quoted name must contain the commit.
    """
    first = make(engine)
    commit(engine, "ALTER TABLE t DROP COLUMN v")
    assert engine.query(f"SELECT `v` FROM t AS OF '{first}' WHERE id = 'a'") == [("1",)]
    assert engine.query("SELECT v FROM t AS OF ? WHERE id = 'a'", (first,)) == [("1",)]


def test_as_of_a_commit_in_joins(engine):
    first = make(engine)
    second = commit(engine, "UPDATE t SET v = '2' WHERE id = 'a'")
    assert engine.query(f"SELECT v FROM t AS OF '{first}' WHERE id = 'a'") == [("1",)]
    joined = (
        "SELECT o.v, n.v FROM t AS OF ? AS o JOIN t AS OF ? AS n ON o.id = n.id WHERE o.v <> n.v"
    )
    assert engine.query(joined, (first, second)) == [("1", "2")]
    assert engine.query(f"SELECT 'x AS OF ''{first}'''") == [(f"x AS OF '{first}'",)]


def test_head_and_table_hashes_in_one_query(engine):
    make(engine)
    ask = (
        "SELECT HASHOF('HEAD'), DOLT_HASHOF_TABLE('t'), DOLT_HASHOF_TABLE('watch_ig'),"
        " UTC_TIMESTAMP(6), (SELECT v FROM watch_ig WHERE id = 1)"
    )
    before = engine.query(ask)[0]
    assert before[0] == head(engine)
    write(engine, "UPDATE watch_ig SET v = 'x'")
    write(engine, "UPDATE t SET v = 'draft' WHERE id = 'a'")
    after = engine.query(ask)[0]
    assert after[0] == before[0], "nothing was committed"
    assert after[1] != before[1], "a table's hash is of the working set"
    assert after[2] != before[2]
    assert after[4] == "x"
    write(engine, "UPDATE t SET v = '1' WHERE id = 'a'")
    assert engine.query(ask)[0][1] == before[1], "the same rows, the same hash"


def test_row_values_order_and_limit(engine):
    make(engine)
    assert engine.query("SELECT id FROM t WHERE (id, v) > ('a', '0') ORDER BY id DESC LIMIT 1") == [
        ("b",)
    ]


def test_reserved_words_as_names(engine):
    engine.execute_ddl("CREATE TABLE r (`key` varchar(9) PRIMARY KEY, `rank` int)")
    write(engine, "INSERT INTO r (`key`, `rank`) VALUES ('k', 1)")
    assert engine.query("SELECT r.`key`, `rank` AS `order` FROM r ORDER BY `order`") == [("k", 1)]


def test_create_table_with_keys_within(engine):
    engine.execute_ddl(
        "CREATE TABLE IF NOT EXISTS k (a varchar(9) NOT NULL, b int DEFAULT '2', j json, at"
        " datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), PRIMARY"
        " KEY (a), KEY k_b (b, a), UNIQUE KEY k_u (at)) ENGINE=InnoDB COLLATE=utf8mb4_0900_bin"
    )
    write(engine, "INSERT INTO k (a, j) VALUES ('x', ?)", ("123",))
    assert engine.query("SELECT a, b, j FROM k") == [("x", 2, "123")], "json stays text"


def test_what_has_no_form_is_refused_clearly():
    with pytest.raises(DatabaseError, match="no DoltLite form"):
        transpile("SELECT FROM WHERE")
    with pytest.raises(DatabaseError, match="no DoltLite form"):
        transpile("CALL DOLT_COMMIT('-m', 'x')")


def test_split_leaves_literals_alone():
    assert split_parameters("a = ? AND b = '?' AND c = ?") == ("a = ", " AND b = '?' AND c = ", "")
    assert split_parameters("'it''s ?' \"?\" `?` -- ?\n ? # ?") == (
        "'it''s ?' \"?\" `?` -- ?\n ",
        " # ?",
    )
    assert split_parameters("'\\'?' ?") == ("'\\'?' ", "")
    assert split_parameters("a /* ? */ - ?") == ("a /* ? */ - ", "")


def test_statements_of_a_script():
    script = "-- first; not yet\nSELECT ';', \"it's;\";\n/* ; */\n\nSELECT 2 # end;\n;;\n"
    assert split_statements(script) == ["SELECT ';', \"it's;\"", "SELECT 2"]
