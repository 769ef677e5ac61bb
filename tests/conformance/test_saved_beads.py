"""The saved beads arrive complete: a state without an attempt would send its bead again."""

from __future__ import annotations

import pytest

from dolt_watch.checkpoint.poll import Poller
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.core.model import Bead
from dolt_watch.engines import Engine
from dolt_watch.errors import DatabaseError
from tests.support.embedded_tracker import Light


def saved(engine: Engine) -> dict[str, Bead]:
    return dict(StateStore(engine).load(Poller(engine).poll()).beads)


def test_all_saved_beads_arrive(engine: Engine) -> None:
    """Dolt cuts a GROUP_CONCAT off after 1,024 characters unless the session sets its limit."""
    here = Light(engine)
    assert saved(engine) == {}, "no row"
    beads = [f"bd-{n:04}" for n in range(600)]
    here.assign(*beads)
    here.tick()
    first = saved(engine)
    assert sorted(first) == beads
    assert [bead.job for bead in first.values() if bead.token] == ["job1"]
    here.sql("UPDATE issues SET status = 'closed'")
    here.tick()
    assert saved(engine) == {}, "tombstones only"


def test_a_record_with_other_ends_of_lines(engine: Engine) -> None:
    here = Light(engine)
    here.assign("bd-1", "bd-2")
    here.tick()
    reason = '"reason":"a\u2028b\x85c\\nd",'
    engine.write("UPDATE watch_bead SET record = REPLACE(record, '\"id\"', ?)", (f'{reason}"id"',))
    assert {bead.reason for bead in saved(engine).values()} == {"a\u2028b\x85c\nd"}


def test_a_part_of_the_saved_beads_is_an_error(dolt: Engine) -> None:
    here = Light(dolt)
    here.assign(*(f"bd-{n}" for n in range(9)))
    here.tick()
    poll = Poller(dolt).poll()
    [(whole,)] = dolt.query("SELECT SUM(LENGTH(record)) FROM watch_bead")
    # Cut off in a record, and between two records.
    [(first,)] = dolt.query("SELECT LENGTH(record) FROM watch_bead ORDER BY bead_id LIMIT 1")
    for limit in (int(whole) - 5, int(first)):
        dolt.query(f"SET @@session.group_concat_max_len = {limit}")
        with pytest.raises(DatabaseError, match="has 9 beads, but the server sent a part"):
            StateStore(dolt).load(poll)
