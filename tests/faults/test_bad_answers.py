"""Arbitrary answers of services, and arbitrary imports into the tracker.

No bead is stuck, no request is sent twice, and no command ends with a traceback. With ``-m slow``,
``DOLT_WATCH_EXAMPLES`` sets the number of examples (default: 10,000).
"""

from __future__ import annotations

import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolt_watch.checkpoint.poll import Poller
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.core.model import Capacity, EntryKind, JobReport, Rule
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.errors import DoltWatchError
from dolt_watch.ledger.codec import ENTRY_COLUMNS
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.beadboard import BeadBoard, read_answer, read_status
from dolt_watch.targets.http_client import MAX_BODY, HttpResult, TransportFailure
from dolt_watch.targets.service_health import interpret_health
from tests.faults.stateful_service import Run, Says, Service
from tests.faults.stateful_world import BOTH, World, template
from tests.stubs.asking import beadboard
from tests.support.beads import TEXT_BYTES as TEXT_LIMIT
from tests.support.matrix import few_or_many

ALL = int(os.environ.get("DOLT_WATCH_EXAMPLES", "10000"))
Profile = Callable[[Any], Any]


def profile(examples: int) -> Profile:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


# -- arbitrary answers --------------------

NASTY = [
    "",
    "\x00",
    "\x1b[31mred\x1b[0m",
    "\u202egnp",
    "\u2028",
    "\r\nX: y",
    "a" * 70_000,
    "\U0001f469\u200d\U0001f680",
    "'; DROP TABLE issues; --",
    "%s %n {0}",
    "\\",
    "\x9b31m",
    "dispatched: job=1",
    "reaper: x",
    "null",
    "𝕏" * 300,
]
TEXTS = st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
WORDS = ["job_id", "error", "busy", "active", "queued", "capacity", "status", "detail"]
SAID = [
    "Queue full",
    "Invalid token",
    "fetch failed",
    "Bead b not found.",
    "Bead b is missing acceptance criteria.",
    "taskId is required.",
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.sampled_from(SAID)
    | st.text(max_size=5)
)
NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | TEXTS, inner, max_size=4)
    ),
    max_leaves=6,
)


def as_json(value: Any) -> bytes:
    import json

    return json.dumps(value).encode()  # json allows NaN, Infinity and lone surrogates.


OBJECTS = st.dictionaries(st.sampled_from(WORDS), LEAVES, min_size=1, max_size=3)
BODIES = st.one_of(
    (OBJECTS | NESTED).map(as_json),
    OBJECTS.map(as_json).map(lambda body: body[: len(body) // 2]),
    st.binary(max_size=80),
    st.sampled_from(
        [
            b"[" * 60_000,
            b"x" * MAX_BODY,
            b'{"job_id":"\\ud800"}',
            b'{"job_id":"a\\u0000b"}',
            b"\xef\xbb\xbf{}",
            b'{"error":"' + b"\x1b[2J" * 9 + b'"}',
        ]
    ),
)
STATUSES = st.sampled_from([200, 400, 401, 409, 429, 500, 502, 503]) | st.integers(100, 999)
RETRY = st.sampled_from(
    ["-1", "9" * 5000, "1e9", "Wed, 21 Oct 9999 07:28:00 GMT", "Mon, 99 Foo 0000", "٣", "0", "600"]
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date"]), RETRY | st.text(max_size=10), max_size=2
)
WHOLE = st.builds(HttpResult, status=STATUSES, headers=HEADERS, body=BODIES, at=st.floats(0, 4e9))
BROKEN = st.builds(
    HttpResult,
    status=st.none() | STATUSES,
    failure=st.sampled_from(TransportFailure),
    reason=st.text(max_size=9),
)
EXCHANGES = WHOLE | BROKEN


def is_told(answer: Answer) -> None:
    text = answer.job if isinstance(answer, Accepted) else answer.why
    text.encode()
    assert isinstance(answer, Accepted | Refused | Busy | Unknown)


def readers(exchange: HttpResult) -> None:
    is_told(read_answer(exchange))
    for told in (read_status(exchange), interpret_health(exchange)):
        assert isinstance(told, Capacity)
        told.why.encode()


def test_readers() -> None:
    profile(200)(given(EXCHANGES)(readers))()


@pytest.mark.slow
def test_readers_for_long() -> None:
    profile(ALL // 2)(given(EXCHANGES)(readers))()


# -- from a real server, byte by byte --------------------


class RawServer(socketserver.ThreadingTCPServer):
    """A server that answers every request with the same bytes, and then closes the connection."""

    daemon_threads, allow_reuse_address = True, True
    answer = b""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.settimeout(5)
                while b"\r\n\r\n" not in self.request.recv(65536):
                    pass
                self.request.sendall(self.server.answer)  # type: ignore[attr-defined]


@contextmanager
def raw_server() -> Iterator[RawServer]:
    with RawServer(("127.0.0.1", 0), RawServer.Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 502 \xff\xfe",
        b"HTTP/1.0 409",
        b"HTTP/9.9 200 x",
        b"200 OK",
        b"HTTP/1.1 20 OK",
    ]
) | STATUSES.map(lambda status: f"HTTP/1.1 {status} x".encode())
FIELDS = st.lists(
    st.sampled_from(
        [
            b"content-type: application/json",
            b"retry-after: 5",
            b"retry-after: \xff",
            b"x: " + b"y" * 70_000,
            b"content-encoding: gzip",
            b"no colon",
            b"transfer-encoding: chunked",
            b"content-length: -1",
            b"content-length: 5",
            b": empty",
            b"x: a\x00b",
            b"location: http://127.0.0.1:1/",
        ]
    ),
    max_size=3,
)


def over_the_wire(server: RawServer, board: BeadBoard, answer: bytes) -> None:
    from dolt_watch.targets.protocol import BeadTask

    server.answer = answer
    is_told(board.dispatch(BeadTask("b", {}), "token"))
    capacity = board.capacity()
    assert isinstance(capacity, Capacity) and not (capacity.down and capacity.slots)
    assert isinstance(board.verdict("job", None), JobReport)


def wire(examples: int) -> None:
    raw = st.builds(
        lambda line, fields, body, sized: b"\r\n".join(
            [line, *fields, *([b"content-length: %d" % len(body)] if sized else []), b"", body]
        ),
        LINES,
        FIELDS,
        BODIES,
        st.booleans(),
    ) | st.binary(max_size=60)
    with raw_server() as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        board = beadboard(url, url, timeout=5)
        profile(examples)(given(raw)(lambda answer: over_the_wire(server, board, answer)))()
        board.close()


@pytest.mark.parametrize("examples", few_or_many(60, 250))
def test_over_the_wire(examples: int) -> None:
    wire(examples)


@pytest.mark.slow
def test_over_the_wire_for_long() -> None:
    wire(ALL // 5)


# -- through the whole loop, into the ledger --------------------


class Anything(Service):
    """A service that answers with the interpretation of an exchange."""

    exchange: HttpResult
    told: Capacity | None = None

    def capacity(self) -> Capacity:
        return self.told or Capacity(1)

    def answer(self, says: Says, run: Run) -> Answer:
        return read_answer(self.exchange)


def new_world(folder: Path, number: list[int]) -> World:
    number[0] += 1
    world = World(
        folder / "template.db",
        folder / f"bad{number[0]}.db",
        Rule("agent", max_attempts=2, max_in_flight=9),
    )
    world.service = world.target = Anything(world)
    return world


def printable(world: World) -> None:
    """Check that terminals can show the texts of the ledger and commits, and that notes fit."""
    for row in world.rows(
        "SELECT reason, job_id, actor, rule FROM watch_decision WHERE actor LIKE 'beads-%'"
    ):
        for text in row:
            assert sanitize(text, len(text) + 1) == text
    for (message,) in world.rows("SELECT message FROM dolt_log WHERE committer = 'dolt-watch'"):
        assert sanitize(message.replace("\n", ""), len(message) + 1) == message.replace("\n", "")
    for (size,) in world.rows("SELECT MAX(LENGTH(CAST(notes AS BLOB))) FROM issues"):
        assert (size or 0) <= max(TEXT_LIMIT, 280_000)


def can_be_moved(world: World) -> None:
    """Check that no state is left after time passes, ticks end, and a user closes every bead."""
    for span in (timedelta(minutes=3), timedelta(hours=2), timedelta(hours=2)):
        world.clock.moment += span
        world.workers[1].tick(BOTH)
    printable(world)
    for (bead,) in world.rows("SELECT id FROM issues"):
        world.change(bead, status="closed")
    world.clock.sleep(5)
    for worker in world.workers[:2]:
        worker.tick(BOTH)
    look = Poller(world.hand).poll()
    assert (look.head, StateStore(world.hand).load(look).beads) == (look.commit, {})


def answered(world: World, exchange: HttpResult, capacity: HttpResult, number: list[int]) -> None:
    number[0] += 1
    bead = f"x{number[0]}"
    world.service.exchange, world.service.told = exchange, None  # type: ignore[attr-defined]
    world.create(bead, "agent", 1)
    world.clock.sleep(10)
    world.workers[0].tick(BOTH)
    assert [run.bead for run in world.service.runs if run.bead == bead] == [bead]
    world.service.told = interpret_health(capacity)  # type: ignore[attr-defined]
    world.workers[0].tick(BOTH)
    can_be_moved(world)
    world.hand.execute_sqlite("DELETE FROM issues")
    world.switch(EntryKind.RESUME)
    world.clock.moment += timedelta(hours=2)


def ledger(examples: int, folder: Path) -> None:
    template(folder)
    world, number = new_world(folder, [0]), [0]
    profile(examples)(
        given(EXCHANGES, EXCHANGES)(
            lambda exchange, capacity: answered(world, exchange, capacity, number)
        )
    )()
    world.close()


@pytest.mark.long
@pytest.mark.parametrize("examples", few_or_many(5, 30))
def test_answers_in_the_ledger(tmp_path: Path, examples: int) -> None:
    ledger(examples, tmp_path)


@pytest.mark.slow
def test_answers_in_the_ledger_for_long(tmp_path: Path) -> None:
    ledger(ALL // 10, tmp_path)


# -- imported rows --------------------

DATES = st.sampled_from(
    [
        None,
        "",
        "2031-01-01 00:00:00",
        "9999-12-31 23:59:59",
        "0001-01-01 00:00:00",
        "0000-00-00 00:00:00",
        "1970-01-01T00:00:00Z",
        "yesterday",
        12,
    ]
)
IDS = TEXTS.map(lambda text: text[:255])
PLAIN = {
    "title": "t",
    "description": "",
    "design": "",
    "acceptance_criteria": "must",
    "notes": "",
    "assignee": "agent",
}
CELLS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["open", "in_progress"]),
        "updated_at": DATES.map(lambda date: "" if date is None else date),
    },
    optional={
        "title": TEXTS,
        "acceptance_criteria": TEXTS,
        "notes": TEXTS,
        "priority": st.integers(-(2**31), 2**31 - 1),
        "started_at": DATES,
        "defer_until": DATES,
        "closed_at": DATES,
        "issue_type": TEXTS,
        "metadata": TEXTS,
        "assignee": st.none() | st.just("agent") | TEXTS,
        "owner": st.none() | TEXTS,
        "external_ref": st.none() | TEXTS,
    },
)
SIDES = st.lists(st.sampled_from(["comments", "events", "labels", "dependencies"]), max_size=3)
ENTRY = st.fixed_dictionaries(
    {
        "bead_id": st.sampled_from(["b", "", "gone"]) | IDS,
        "version": st.integers(1, 3) | st.integers(-(2**31), 2**31 - 1),
        "kind": st.sampled_from(list(EntryKind)) | TEXTS,
        "attempt": st.integers(-2, 2**31 - 1),
        "rule": st.just("agent") | TEXTS,
        "token": st.just("t") | TEXTS,
        "decided_at": DATES.map(lambda date: "" if date is None else date),
        "detail": TEXTS
        | NESTED.map(as_json).map(bytes.decode)
        | st.dictionaries(
            st.sampled_from(
                [
                    "until",
                    "deadline",
                    "retry_at",
                    "target",
                    "reaping",
                    "wrote",
                    "from",
                    "to",
                    "beads",
                    "held",
                    "phase",
                ]
            ),
            LEAVES
            | st.sampled_from(["9999-12-31T23:59:59+00:00", "0001-01-01"])
            | st.dictionaries(
                st.sampled_from(["cells", "note", "events"]),
                LEAVES | st.lists(LEAVES, max_size=2),
                max_size=3,
            ),
        )
        .map(as_json)
        .map(bytes.decode),
    }
)


def insert(world: World, table: str, cells: dict[str, Any]) -> None:
    names = ", ".join(f'"{name}"' for name in cells)
    # Values that the database refuses can't be imported.
    with suppress(DoltWatchError):
        world.hand.execute_sqlite(
            f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({', '.join('?' * len(cells))})",
            tuple(cells.values()),
        )


Imported = tuple[str, dict[str, Any], list[str], str, Any, dict[str, Any] | None]
"""A bead's ID and cells, its related tables, a text and a date for their rows, and an entry."""


def import_row(world: World, row: Imported) -> None:
    bead, cells, sides, text, date, entry = row
    insert(world, "issues", {"id": bead, **PLAIN, **cells})
    for side in sides:
        key = {
            "labels": {"label": text},
            "dependencies": {
                "depends_on_id": text,
                "created_by": text,
                "type": text,
                "created_at": date or "",
            },
        }
        rest = {
            "id": f"k{bead}",
            "created_at": date or "",
            **(
                {"author": text, "text": text}
                if side == "comments"
                else {"event_type": "x", "actor": text}
            ),
        }
        insert(world, side, {"issue_id": bead, **key.get(side, rest)})
    if entry is not None:
        rest = dict.fromkeys(ENTRY_COLUMNS, text)
        insert(world, "watch_decision", {**rest, **entry, "actor": "somebody"})


def imported(folder: Path, number: list[int], batch: list[Imported]) -> None:
    """Import a batch of rows in one commit of one tracker."""
    world = new_world(folder, number)
    try:
        world.service.exchange = HttpResult(200, {}, b'{"job_id":"j"}')  # type: ignore[attr-defined]
        for row in batch:
            import_row(world, row)
        world.commit("anna", "import")
        world.clock.sleep(10)
        world.workers[0].tick(BOTH)
        world.create("healthy", "agent", 0)
        world.clock.sleep(3)
        world.workers[0].tick(BOTH)
        kinds = [entry["kind"] for *_, entry in batch if entry is not None]
        paused = any(kind in (EntryKind.PAUSE, EntryKind.STOPPED, EntryKind.BUSY) for kind in kinds)
        assert paused or "healthy" in [run.bead for run in world.service.runs], (
            "one bad row holds up the others"
        )
        can_be_moved(world)
        tokens = [run.token for run in world.service.runs]
        assert len(set(tokens)) == len(tokens)
    finally:
        world.close()
        for file in folder.glob(f"*bad{number[0]}.db*"):
            file.unlink()


def rows(examples: int, folder: Path, entries: bool, size: int) -> None:
    """Import generated rows.

    Args:
        size: Number of rows in a tracker.
    """
    template(folder)
    number = [0]
    row = st.tuples(IDS, CELLS, SIDES, TEXTS, DATES, ENTRY if entries else st.none())
    batches = st.lists(row, min_size=size, max_size=size)
    profile(examples // size)(given(batches)(lambda batch: imported(folder, number, batch)))()


@pytest.mark.long
@pytest.mark.parametrize("examples", few_or_many(8, 60))
@pytest.mark.parametrize("entries", [False, True], ids=["issues", "ledger"])
def test_rows(tmp_path: Path, entries: bool, examples: int) -> None:
    rows(examples, tmp_path, entries, 4)


@pytest.mark.parametrize("status", ["open", "in_progress"])
def test_an_entry_below_the_first_version_holds_nobody_up(tmp_path: Path, status: str) -> None:
    template(tmp_path)
    entry = dict(
        bead_id="b",
        version=-1,
        kind=EntryKind.CLAIM,
        attempt=0,
        rule="agent",
        token="t",
        decided_at="",
        detail="",
    )
    imported(tmp_path, [0], [("b", {"status": status, "updated_at": ""}, [], "", None, entry)])


@pytest.mark.slow
@pytest.mark.parametrize("entries", [False, True], ids=["issues", "ledger"])
def test_rows_for_long(tmp_path: Path, entries: bool) -> None:
    rows(ALL // 10, tmp_path, entries, 1)
