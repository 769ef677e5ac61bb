"""Values come back unchanged: text, times, NULL, and SQL with parameter marks in literals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolt_watch.timestamps import to_utc
from tests.conformance.tables import commit, make, write
from tests.support.servers import message


@pytest.fixture
def echo(engine):
    engine.execute_ddl(
        "CREATE TABLE e (id int PRIMARY KEY, s longtext, n bigint, b longblob, d datetime, f"
        " datetime(6))"
    )

    def store(column: str, value):
        with engine.transaction() as tx:
            tx.execute("DELETE FROM e")
            tx.execute(f"INSERT INTO e (id, {column}) VALUES (1, ?)", (value,))
            tx.commit()
        return engine.query(f"SELECT {column} FROM e WHERE id = 1")[0][0]

    return store


TEXTS = [
    "",
    "plain",
    'it\'s "quoted" `so` \\ and \\n not a line',
    "two\nlines\r\n\ttab",
    "100% of %s %(x)s %% ?",
    "-- no comment /* none */ # none",
    "ä ß é 中文 العربية \u200d\u202e",
    "🚀👩‍💻🇩🇪",
    "'; DROP TABLE e; --",
    "x" * 60_000,
    "ü🚀" * 10_000,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_text(echo, text):
    assert echo("s", text) == text


@given(
    st.text(
        alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=60
    )
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text(echo, text):
    assert echo("s", text) == text


@pytest.mark.parametrize("number", [0, 1, -1, 2**31, 2**62, -(2**63)])
def test_numbers(echo, number):
    assert echo("n", number) == number


@pytest.mark.parametrize("data", [b"", b"\x00\xff'\"\\?%s", bytes(range(256))])
def test_bytes(echo, data):
    assert echo("b", data) == data


@pytest.mark.parametrize("column", ["s", "n", "b", "d", "f"])
def test_null(echo, column):
    assert echo(column, None) is None


MOMENT = datetime(2026, 4, 18, 22, 35, 46, 123456, tzinfo=UTC)


def test_times_come_back_as_utc(echo):
    assert to_utc(echo("f", MOMENT)) == MOMENT
    whole = MOMENT.replace(microsecond=0)
    assert to_utc(echo("f", whole)) == whole
    assert to_utc(echo("d", whole)) == whole


def test_a_time_of_another_zone_is_written_as_utc(echo):
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=-7)))
    assert to_utc(echo("f", elsewhere)) == MOMENT


def test_a_time_without_a_zone_is_refused(echo):
    with pytest.raises(ValueError, match="zone"):
        echo("d", datetime(2026, 4, 18))  # noqa: DTZ001


def test_a_servers_times_are_aware(dolt):
    assert dolt.query("SELECT CAST('2026-04-18 22:35:46.5' AS DATETIME(6))") == [
        (datetime(2026, 4, 18, 22, 35, 46, 500000, tzinfo=UTC),)
    ]


def test_times_compare_with_the_databases_own(engine):
    engine.execute_ddl(
        "CREATE TABLE d (id int PRIMARY KEY, at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    )
    write(engine, "INSERT INTO d (id) VALUES (1)")
    now = to_utc(engine.query("SELECT UTC_TIMESTAMP(6)")[0][0])
    for distance, before in ((timedelta(minutes=-1), 0), (timedelta(minutes=1), 1)):
        assert engine.query(
            "SELECT at <= ? FROM d", ((now + distance).replace(microsecond=0),)
        ) == [(before,)]


def test_defaults_are_written_in_utc(dolt_factory, dolt_address):
    """Defaults of time columns are in UTC.

    bd's tables have DEFAULT CURRENT_TIMESTAMP in the session's zone. dolt_watch sets UTC before the
    first write.
    """
    engine = dolt_factory()
    engine.execute_ddl(
        "CREATE TABLE d (id int PRIMARY KEY, at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP)"
    )
    write(engine, "INSERT INTO d (id) VALUES (1)")
    assert engine.query(
        "SELECT @@session.time_zone, ABS(TIMESTAMPDIFF(SECOND, at, UTC_TIMESTAMP())) < 60 FROM d"
    ) == [("+00:00", 1)]


def test_question_marks_and_percent_signs_in_sql(engine):
    make(engine)
    assert engine.query("SELECT 'a?b', '100%', '%s', ?, 'it''s ?', \"?\" /* ? */", ("x",)) == [
        ("a?b", "100%", "%s", "x", "it's ?", "?")
    ]
    assert engine.query("SELECT '?', '%s', '%'") == [("?", "%s", "%")]
    assert engine.query("SELECT id FROM t WHERE id LIKE 'a%' AND v = ?", ("1",)) == [("a",)]


def test_the_number_of_parameters_is_checked(dolt):
    with pytest.raises(ValueError, match="2 parameters in the SQL, 1 given"):
        dolt.query("SELECT ?, ?", (1,))


def test_text_in_a_diff_is_whole(engine):
    from dolt_watch.engines import Edge

    first = make(engine)
    with engine.transaction() as tx:
        tx.execute("UPDATE t SET v = ? WHERE id = 'a'", ("🚀" * 15_000,))
        second = tx.dolt_commit(["t"], "long 🚀", "wä <w@x>")
    assert list(engine.diff("t", [Edge(first, second)], {"v": "to_v"})) == [
        (Edge(first, second), ("🚀" * 15_000,))
    ]
    assert (message(engine, second), engine.commit_of(second).author) == ("long 🚀", "wä")


def test_an_empty_message_is_an_error_not_a_commit(engine):
    from dolt_watch.errors import DoltWatchError

    make(engine)
    with pytest.raises(DoltWatchError):
        commit(engine, "UPDATE t SET v = '2'", message="")
