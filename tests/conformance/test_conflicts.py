"""Results of concurrent writes. Some mechanisms make a claim exclusive, and others don't."""

from __future__ import annotations

import threading

import pytest

from dolt_watch.errors import Conflict
from tests.conformance.tables import ME, commit, head, ignored, make, read, write


@pytest.fixture
def pair(engine_factory):
    first, second = engine_factory(), engine_factory()
    make(first)
    return first, second


@pytest.fixture
def dolt_pair(dolt_factory):
    first, second = dolt_factory(), dolt_factory()
    make(first)
    return first, second


def test_one_key_different_tokens_exactly_one_wins(engine_factory):
    """Of several threads, only one can insert a key. Every claim depends on this rule."""
    make(engine_factory())
    engine_factory().execute_ddl(
        "CREATE TABLE watch_d (bead varchar(20), version int, token varchar(40), PRIMARY KEY (bead,"
        " version))"
    )
    commit(engine_factory(), tables=["watch_d"])
    start, won, lost = threading.Barrier(4), [], []

    def claim(worker: int, round_: int, engine) -> None:
        start.wait()
        try:
            with engine.transaction() as tx:
                tx.execute("INSERT INTO watch_d VALUES ('b', ?, ?)", (round_, f"token {worker}"))
                won.append((round_, worker, tx.dolt_commit(["watch_d"], f"round {round_}", ME)))
        except Conflict:
            lost.append(round_)

    def work(worker: int) -> None:
        from dolt_watch.engines.address import FileAddress
        from dolt_watch.engines.connect import open_engine

        engine = open_engine(FileAddress(path) if lite else address)
        try:
            for round_ in range(5):
                claim(worker, round_, engine)
        finally:
            engine.close()

    sample = engine_factory()
    lite = sample.name == "doltlite"
    path, address = (sample.path, None) if lite else ("", sample.address)
    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(round_ for round_, _, _ in won) == list(range(5))
    assert len(lost) == 15
    rows = sample.query("SELECT version, token FROM watch_d ORDER BY version")
    assert rows == [(round_, f"token {worker}") for round_, worker, _ in sorted(won)]


def test_the_same_key_in_overlapping_transactions(dolt_pair):
    first, second = dolt_pair
    with pytest.raises(Conflict, match="1213"), first.transaction() as mine:
        mine.execute("INSERT INTO t (id, v) VALUES ('c', 'mine')")
        commit(second, "INSERT INTO t (id, v) VALUES ('c', 'theirs')")
        mine.dolt_commit(["t"], "mine", ME)
    assert read(first, "c") == "theirs"


def test_a_key_that_is_taken(pair):
    first, second = pair
    commit(first, "INSERT INTO t (id, v) VALUES ('c', 'first')")
    before = head(second)
    with pytest.raises(Conflict), second.transaction() as tx:
        tx.execute("UPDATE t SET v = 'lost' WHERE id = 'a'")
        tx.execute("INSERT INTO t (id, v) VALUES ('c', 'second')")
    assert (read(second, "c"), read(second, "a"), head(second)) == ("first", "1", before)


def test_a_compare_and_set_is_no_guard(dolt_pair):
    """Both transactions commit. They write the same value, so the merge by cell has no conflict."""
    first, second = dolt_pair
    with first.transaction() as mine, second.transaction() as theirs:
        assert mine.execute("UPDATE t SET v = 'taken' WHERE id = 'a' AND v = '1'") == 1
        assert theirs.execute("UPDATE t SET v = 'taken' WHERE id = 'a' AND v = '1'") == 1
        mine.dolt_commit(["t"], "mine", ME)
        theirs.commit()
    assert read(first, "a") == "taken"


def test_different_values_in_one_cell_conflict(dolt_pair):
    first, second = dolt_pair
    with pytest.raises(Conflict, match="1213"), first.transaction() as mine:
        mine.execute("UPDATE t SET v = 'mine' WHERE id = 'a'")
        write(second, "UPDATE t SET v = 'theirs' WHERE id = 'a'")
        mine.commit()
    assert read(first, "a") == "theirs"


def test_different_cells_of_one_row_merge(dolt_pair):
    first, second = dolt_pair
    with first.transaction() as mine:
        mine.execute("UPDATE t SET v = 'mine' WHERE id = 'a'")
        write(second, "UPDATE t SET w = 'theirs' WHERE id = 'a'")
        mine.dolt_commit(["t"], "mine", ME)
    assert first.query("SELECT v, w FROM t WHERE id = 'a'") == [("mine", "theirs")]


def test_different_rows_both_commit(dolt_pair):
    first, second = dolt_pair
    with first.transaction() as mine:
        mine.execute("UPDATE t SET v = 'mine' WHERE id = 'a'")
        commit(second, "UPDATE t SET v = 'theirs' WHERE id = 'b'")
        mine.dolt_commit(["t"], "mine", ME)
    assert (read(first, "a"), read(first, "b")) == ("mine", "theirs")


def test_a_shared_ignored_row_makes_them_conflict(dolt_pair):
    """The fence makes workers on one server decide one after another, for any beads."""
    first, second = dolt_pair
    before = None
    with pytest.raises(Conflict, match="1213"), first.transaction() as mine:
        mine.execute("UPDATE watch_ig SET v = 'mine' WHERE id = 1")
        mine.execute("UPDATE t SET v = 'mine' WHERE id = 'a'")
        before = commit(
            second,
            "UPDATE watch_ig SET v = 'theirs' WHERE id = 1",
            "UPDATE t SET v = 'theirs' WHERE id = 'b'",
        )
        mine.dolt_commit(["t"], "mine", ME)
    assert (read(first, "a"), read(first, "b"), ignored(first)) == ("1", "theirs", "theirs")
    assert head(first) == before
    assert not first.dirty(), "nothing stays staged"


def test_a_stale_fence_matches_no_row(pair):
    first, second = pair
    write(first, "UPDATE watch_ig SET v = 'new' WHERE id = 1 AND v = '0'")
    with second.transaction() as tx:
        assert tx.execute("UPDATE watch_ig SET v = 'newer' WHERE id = 1 AND v = '0'") == 0


def test_a_writer_waits_for_its_turn_then_conflicts(doltlite_factory, monkeypatch):
    """DoltLite has one writer at a time. BEGIN IMMEDIATE waits for 0.1 s here."""
    monkeypatch.setattr("dolt_watch.engines.doltlite.engine.BUSY_SECONDS", 0.1)
    first, second = doltlite_factory(), doltlite_factory()
    with first.transaction(), pytest.raises(Conflict, match="locked"), second.transaction():
        pass


def test_duplicate_unique_key_is_a_conflict(engine):
    engine.execute_ddl("CREATE TABLE u (id int PRIMARY KEY, k int)")
    engine.execute_ddl("CREATE UNIQUE INDEX u_k ON u (k)")
    write(engine, "INSERT INTO u VALUES (1, 1)")
    with pytest.raises(Conflict):
        write(engine, "INSERT INTO u VALUES (2, 1)")


def test_unique_keys_that_meet_at_commit(dolt_factory):
    """Dolt reports error 1105 'constraint violations', not 1213."""
    first, second = dolt_factory(), dolt_factory()
    first.execute_ddl("CREATE TABLE u (id int PRIMARY KEY, k int UNIQUE)")
    with pytest.raises(Conflict, match="1105"), first.transaction() as mine:
        mine.execute("INSERT INTO u VALUES (1, 7)")
        write(second, "INSERT INTO u VALUES (2, 7)")
        mine.commit()
    assert first.query("SELECT id FROM u") == [(2,)]
    assert not first.has_unfinished_merge(), "no violation stays behind"
