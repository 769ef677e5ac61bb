"""A tracker with a real history, for the pictures of the documentation.

The real loop makes each decision, on the real tables of beads, with real HTTP requests to the stubs
of the services. Only the time is simulated. The database's clock and the dates of the commits
follow a script, so that a day passes in seconds.
"""

from __future__ import annotations

import heapq
import math
import random
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Self
from unittest import mock

from dolt_watch.cli import main as command
from dolt_watch.cli.composition import build
from dolt_watch.clock import DatabaseClock
from dolt_watch.config import load
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.demo.fake_agent import edit
from dolt_watch.demo.tracker import make_tracker
from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.doltlite.engine import DoltLiteEngine
from dolt_watch.ledger.schema import migrate
from dolt_watch.targets.registry import TargetPool
from tests.stubs.agent_service import AgentServiceStub
from tests.stubs.beadboard import DISPATCH, BeadBoardStub
from tests.stubs.server import Recorded, Reply

HOST = "web-1"
ENDS = datetime(2026, 4, 18, 18, 13, 6, tzinfo=UTC)
"""Time of the pictures: 20:13:06 in Berlin."""
AUTHOR = "dolt-watch <dolt-watch@example.com>"
PLANNER = "<planner@example.com>"
TITLES = (
    "Make the checkout tests pass on Safari",
    "Import CSV files that contain quoted line breaks",
    "Delete the legacy orders API",
    "Clear the price cache when a customer changes plan",
    "Move product images to object storage",
    "Rewrite the delivery date scheduler in small steps",
    "Limit the request rate of the public search API",
    "Show the order total in the basket footer",
    "Add a dark theme to the account page",
    "Add pages to the audit log",
    "Export monthly sales as Parquet files",
    "Speed up the product search index",
    "Stop the backup check from reporting false alarms",
    "Fix a typo in the welcome email",
    "Split the payment form into three steps",
    "Upgrade the template parser to 3.2",
    "Recalculate the stock forecast",
    "Archive orders older than seven years",
    "Add keyboard shortcuts to the order list",
    "Add a health endpoint to the tax service",
    "Rotate the staging credentials",
    "Renew the login automatically when it expires",
    "Validate VAT numbers on entry",
    "Explain in the log why a sync was skipped",
    "Compress product photos on upload",
    "Reduce the cold start of the image resizer",
    "Retry the login when the session ends",
    "Round the tax of each line as the law requires",
)
DOCUMENTS = (
    "Write the migration guide for version 4",
    "Document the refund webhooks",
    "Write the release notes for 4.1",
    "Document the retry policy",
)
SETTINGS = """
database = "{database}"
settle = "30s"

[rules.agent]
max_in_flight = {slots}
max_attempts = 3

[rules.docs]
when = "assignee = 'writer' AND status = 'open'"
target = "pipeline"
max_in_flight = 2

[rules.nightly]
when = "assignee = 'night-shift' AND status = 'open'"
target = "nightly"

[targets.beadboard]
url = "{board}"
service_url = "{service}"

[targets.pipeline]
kind = "agent-service"
url = "{pipeline}"
token_file = "token"

[targets.nightly]
kind = "agent-service"
url = "{nightly}"
token_file = "token"
"""
BEARER = "token-of-the-stubs"
WORKS, DIES, FAILS, HANGS_UP, ASKS_AGAIN = "works", "dies", "fails", "hangs up", "asks again"
FATES = {WORKS: 90, ASKS_AGAIN: 4, DIES: 3, FAILS: 2, HANGS_UP: 1}
"""Fates of dispatched beads, with their weights."""
HANG_UP = Reply(0)
"""A reply that closes the connection without an answer."""
TICK = timedelta(minutes=1)
MINUTE = timedelta(minutes=1)


class Moment:
    """The current time of the tracker."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@contextmanager
def at_moment(moment: Moment) -> Iterator[None]:
    """Set DoltLite's clock and the dates of new commits to ``moment``, and the host to HOST."""
    execute = DoltLiteEngine.execute_sqlite

    def timed(self: DoltLiteEngine, sql: str, params: Sequence[Any] = ()) -> Any:
        if sql.startswith("SELECT dolt_commit("):
            date = moment.at.strftime("%Y-%m-%dT%H:%M:%SZ")
            sql, params = f"{sql[:-1]}, '--date', ?)", (*params, date)
        now = moment.at.strftime("%Y-%m-%d %H:%M:%S.%f")
        return execute(self, sql.replace("'now'", f"'{now}'"), params)

    with (
        mock.patch.object(DoltLiteEngine, "execute_sqlite", timed),
        mock.patch.object(DatabaseClock, "sleep", lambda self, seconds: moment.sleep(seconds)),
        mock.patch.object(socket, "gethostname", lambda: HOST),
    ):
        yield


class Board(BeadBoardStub):
    """A BeadBoard whose answers depend on the fate of the bead."""

    def __init__(self, service: AgentServiceStub, fates: dict[str, str]) -> None:
        super().__init__(service)
        self.fates = fates
        self.refused: set[str] = set()

    def answer(self, request: Recorded) -> Reply:
        if (request.method, request.path) != ("POST", DISPATCH):
            return super().answer(request)
        bead = request.json["taskId"]
        fate = self.fates[bead]
        if fate == FAILS:
            return Reply(500, {"error": "spawn ENOMEM"})
        if fate in (ASKS_AGAIN, HANGS_UP) and bead not in self.refused:
            self.refused.add(bead)
            not_found = Reply(400, {"error": f"Bead {bead} not found."})
            return HANG_UP if fate == HANGS_UP else not_found
        return super().answer(request)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply is HANG_UP:
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        else:
            super()._send(handler, reply)


@dataclass(order=True)
class Event:
    """An action of a user or an agent."""

    at: datetime
    number: int
    act: Callable[[], None] = field(compare=False)


class Storefront:
    """The tracker of a web shop: a planner, three rules, and agents with different fates.

    Args:
        folder: An empty folder for the database and the settings file.
        plan: The size and the pace of the history.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = folder, plan
        self.moment = Moment(ENDS - plan.span)
        self.random = random.Random(plan.beads)
        self.fates: dict[str, str] = {}
        self._events: list[Event] = []
        self._numbers = count()
        self._begun: set[str] = set()
        self._open = ExitStack()
        services = (AgentServiceStub(capacity=most, bearer=BEARER) for most in (plan.slots, 2, 1))
        self.service, self.pipeline, self.nightly = map(self._open.enter_context, services)
        self.board = self._open.enter_context(Board(self.service, self.fates))
        self._open.enter_context(at_moment(self.moment))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def make(self) -> None:
        """Create the database, and simulate its history until ENDS."""
        address = FileAddress(str(self.folder / "storefront.db"))
        text = SETTINGS.format(
            database=address.url,
            slots=self.plan.slots,
            board=self.board.url,
            service=self.service.url,
            pipeline=self.pipeline.url,
            nightly=self.nightly.url,
        )
        (self.folder / "dolt_watch.toml").write_text(text, "utf-8")
        (self.folder / "token").write_text(BEARER, "utf-8")
        settings = load({"database": None, "config": None, "set": ()}, {}, self.folder)
        self.engine = engine = DoltLiteEngine(address.path, create=True)
        self._open.enter_context(closing(engine))
        # DoltLite dates the first commit by the machine's clock.
        engine.execute_sqlite("SELECT dolt_commit('--amend', '--allow-empty', '-m', 'Initialize')")
        make_tracker(self.engine, AUTHOR)
        for _ in migrate(self.engine, AUTHOR):
            pass
        self.plan.begin(self)
        targets = self._open.enter_context(closing(TargetPool(settings.targets)))
        worker = {"host": HOST, "by": "run"}
        loop = build(self.engine, settings, targets, DatabaseClock(), patient=False, worker=worker)
        assert self.engine.try_acquire_leadership()
        while self.moment.at < ENDS - TICK:
            until = self.moment.at + TICK
            while self._events and self._events[0].at <= until:
                event = heapq.heappop(self._events)
                self.moment.at = max(self.moment.at, event.at)
                event.act()
            self.moment.at = until
            loop.tick(BOTH)
            self._start_agents()
        self.moment.at = ENDS

    def head(self) -> str:
        return str(self.engine.query("SELECT HASHOF('HEAD')")[0][0])

    # -- users --------------------

    def at(self, when: datetime, act: Callable[[], None]) -> None:
        """Schedule an action."""
        heapq.heappush(self._events, Event(when, next(self._numbers), act))

    def create(self, *beads: NewBead) -> None:
        """Create beads in one commit, as the planner's script does with `bd create`."""
        with self.engine.transaction() as tx:
            for bead in beads:
                self.fates[bead.id] = bead.fate
                row = {
                    "id": bead.id,
                    "title": bead.title,
                    "description": "",
                    "design": "",
                    "acceptance_criteria": "The tests pass.",
                    "notes": "",
                    "assignee": bead.assignee,
                    "priority": bead.priority,
                    "created_at": self.moment.at,
                    "updated_at": self.moment.at,
                    "defer_until": bead.defer_until,
                }
                marks = ", ".join("?" * len(row))
                tx.execute(
                    f"INSERT INTO issues ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
                )
                if bead.blocked_by:
                    tx.execute(
                        "INSERT INTO dependencies (id, issue_id, depends_on_issue_id, type,"
                        " created_at, created_by) VALUES (?, ?, ?, 'blocks', ?, 'planner')",
                        (str(uuid.uuid4()), bead.id, bead.blocked_by, self.moment.at),
                    )
            tx.dolt_commit(["issues", "dependencies"], "bd: create", f"planner {PLANNER}")

    # -- agents --------------------

    def _start_agents(self) -> None:
        """Start the agents of new jobs."""
        accepted = [(bead, job, self.service) for bead, job in self.board.accepted]
        for service in (self.pipeline, self.nightly):
            accepted += [(one.metadata["bead"], one.id, service) for one in service.jobs.values()]
        for bead, job, service in accepted:
            if job not in self._begun:
                self._begun.add(job)
                self._work(bead, job, service)

    def _work(self, bead: str, job: str, service: AgentServiceStub) -> None:
        """Schedule the notes of an agent, and its end."""
        begins = self.moment.at
        takes = timedelta(minutes=self.plan.runs(self.random))
        self.at(begins + MINUTE, lambda: self._note(bead, f"claimed by agent, job {job}"))
        if self.fates[bead] == DIES:
            self.at(begins + 4 * MINUTE, lambda: service.finish(job, "error", error="killed"))
            return
        sign = begins + timedelta(minutes=self.random.uniform(6, 14))
        while sign < begins + takes:
            self.at(sign, lambda: self._note(bead, "one more test passes"))
            sign += timedelta(minutes=self.random.uniform(6, 14))
        self.at(begins + takes, lambda: self._close(bead, job, service))

    def _note(self, bead: str, text: str) -> None:
        edit(self.engine, bead, "agent", f"bd: note {bead}", notes=text)

    def _close(self, bead: str, job: str, service: AgentServiceStub) -> None:
        edit(self.engine, bead, "agent", f"bd: close {bead}", status="closed", close_reason="done")
        service.finish(job)


class NewBead(NamedTuple):
    """A bead that the planner creates."""

    id: str
    title: str
    assignee: str = "agent"
    priority: int = 2
    fate: str = WORKS
    blocked_by: str = ""
    defer_until: datetime | None = None


class Plan(NamedTuple):
    """The size and the pace of a tracker's history."""

    beads: int
    span: timedelta
    slots: int
    """``max_in_flight`` of the rule agent."""
    minutes: float
    """Median duration of a run, in minutes."""
    begin: Callable[[Storefront], None]
    """Schedules the actions of the users."""

    def runs(self, random: random.Random) -> float:
        """Return the duration of a run, in minutes."""
        return min(150.0, max(3.0, random.lognormvariate(math.log(self.minutes), 0.5)))


def few(shop: Storefront) -> None:
    """Plan 30 beads in 6 hours, with one of each fate."""
    ids = ids_of(shop.random, 3)
    begins, titles = shop.moment.at, iter(TITLES)

    def add(minutes: float, title: str = "", **more: Any) -> str:
        bead = NewBead(next(ids), title or next(titles), **more)
        shop.at(begins + minutes * MINUTE, lambda: shop.create(bead))
        return bead.id

    add(1, fate=FAILS)
    add(2, priority=1)
    add(4, fate=DIES)
    for minutes in (8, 31, 47, 62, 90, 118, 121, 150, 163, 177):
        add(minutes, priority=shop.random.choice((1, 2, 2, 3)))
    add(200, fate=ASKS_AGAIN)
    blocker = add(352, priority=3)
    add(352, blocked_by=blocker)
    add(230, defer_until=ENDS + 13 * 60 * MINUTE)
    for minutes in (240, 255, 280, 301, 322):
        add(minutes, priority=shop.random.choice((1, 2, 2, 3)))
    add(338, fate=HANGS_UP, priority=0)
    add(345, fate=FAILS, priority=0)
    add(359.5)
    for minutes, title in zip((20, 140, 290, 352), DOCUMENTS, strict=True):
        add(minutes, title, assignee="writer")
    add(60, "Recalculate the stock forecast", assignee="night-shift")
    shop.at(ENDS - 42 * MINUTE, shop.nightly.stop)
    add(325, "Archive orders older than seven years", assignee="night-shift")


def many(shop: Storefront) -> None:
    """Plan 2,000 beads in three days: a steady stream, and at the end an import of 900."""
    ids = ids_of(shop.random, 4)

    def some(number: int) -> list[NewBead]:
        chosen = shop.random.choices(list(FATES), list(FATES.values()), k=number)
        return [
            NewBead(
                next(ids),
                shop.random.choice(DOCUMENTS if document else TITLES),
                assignee="writer" if document else "agent",
                priority=shop.random.choice((0, 1, 1, 2, 2, 2, 2, 3, 3)),
                fate=fate,
            )
            for fate in chosen
            for document in (shop.random.random() < 0.05,)
        ]

    imported = 9 * shop.plan.beads // 20
    steady = shop.plan.beads - imported
    for number in range(0, steady, 10):
        beads = some(10)
        when = ENDS - shop.plan.span * (1 - number / steady) + MINUTE
        shop.at(when, lambda beads=beads: shop.create(*beads))
    last = some(imported)
    shop.at(ENDS - 150 * MINUTE, lambda: shop.create(*last))


def ids_of(random: random.Random, length: int) -> Iterator[str]:
    """Yield new IDs, as bd makes them."""
    used = set[str]()
    while True:
        name = "".join(random.choices("abcdefghijkmnpqrstuvwxyz0123456789", k=length))
        if name not in used:
            used.add(name)
            yield f"shop-{name}"


FEW = Plan(30, timedelta(hours=6), 2, 30, few)
MANY = Plan(2000, timedelta(days=3), 12, 35, many)


def main() -> None:
    """Run a command of dolt_watch at ENDS."""
    # `doctor` compares the machine's clock with the database's clock.
    with at_moment(Moment(ENDS)), mock.patch("dolt_watch.cli.doctor._machine", lambda: ENDS):
        command()


if __name__ == "__main__":
    main()
