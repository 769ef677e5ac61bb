"""Which errors of a walk mean that the edges are read another way, and which are the command's
end.
"""

from __future__ import annotations

from typing import Any

import pytest

from dolt_watch.engines import Edge
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.dolt.connection import StatementResult
from dolt_watch.engines.dolt.diff_reader import MIN_LINEAR, DiffReader
from dolt_watch.errors import (
    AccessDenied,
    DoltWatchError,
    NoSuchDatabase,
    NoSuchTable,
    SchemaChanged,
    UnknownCommit,
    Unreachable,
)

EDGES = [Edge(f"c{number}", f"c{number + 1}") for number in range(MIN_LINEAR)]


class Link:
    """Fails what walks, and has nothing else to say."""

    address = ServerAddress("db.example", database="beads")

    def __init__(self, error: DoltWatchError) -> None:
        self.error = error
        self.sent: list[str] = []

    def send(self, sql: str, *params: Any, **more: Any) -> StatementResult:
        self.sent.append(sql)
        if "beads/" in sql:
            raise self.error
        return StatementResult([(1,)] if "HAS_ANCESTOR" in sql else [], 0, [], 0)


def differ(link: Link) -> DiffReader:
    made = DiffReader(link, lambda table: {})  # type: ignore[arg-type]
    made.set_commit_range(EDGES[-1].commit, {edge.commit: (edge.parent,) for edge in EDGES})
    return made


@pytest.mark.parametrize(
    "error",
    [NoSuchTable("issues"), SchemaChanged(), UnknownCommit(), NoSuchDatabase(), AccessDenied()],
)
def test_what_is_not_there_is_read_another_way(error: DoltWatchError) -> None:
    link = Link(error)
    assert list(differ(link).rows("issues", EDGES, ["to_id"])) == []
    assert any("WHERE to_commit IN" in sql for sql in link.sent)


def test_a_connection_that_is_lost_is_lost() -> None:
    link = Link(Unreachable())
    with pytest.raises(Unreachable):
        list(differ(link).rows("issues", EDGES, ["to_id"]))
    assert len(link.sent) == 1
