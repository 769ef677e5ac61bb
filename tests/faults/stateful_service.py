"""The agent service of the stateful test. The test sets its answers, and it knows its runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.targets.protocol import BeadTask
from tests.stubs.asking import beadboard
from tests.stubs.beadboard import BeadBoardStub

if TYPE_CHECKING:
    from tests.faults.stateful_world import World


class Says(StrEnum):
    """An answer of the service to a dispatch."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FOR_GOOD = "for good"
    CREDENTIAL = "credential"
    BUSY = "busy"
    BUSY_REST = "busy, with a rest"
    LOST = "begun, and the answer lost"
    SILENT = "not begun, and not known"


NOTHING_RUNS = frozenset({Says.REFUSED, Says.FOR_GOOD, Says.CREDENTIAL, Says.BUSY, Says.BUSY_REST})


@dataclass
class Run:
    """One dispatch call, and the facts about it."""

    bead: str
    token: str
    job: str
    alive: bool = False
    maybe: bool = True
    """Whether a run is possible, as seen from outside."""
    stepped_in: bool = False
    """Whether a user moved the bead by hand after the call (status, assignee, deleted).

    A second run is then the user's decision.
    """
    forgotten: bool = False
    """Whether a rewrite of history removed its claim."""


class Service:
    """A target that gives the requested answers and knows its runs.

    Its reports are always true, both ``idle`` and verdicts.
    """

    name, timeout = "beadboard", 30.0

    def __init__(self, world: World) -> None:
        self.world = world
        self.answers: list[Says] = []
        self.slots: int | None = 9
        self.down = False
        self.tells = False
        """Whether the service reports that it is idle, and the verdicts of jobs."""
        self.runs: list[Run] = []

    def capacity(self) -> Capacity:
        self.world.effect("capacity")
        if self.down:
            return Capacity(0, "no answer", down=True)
        idle = self.tells and not any(run.alive for run in self.runs)
        if idle:
            for run in self.runs:
                run.maybe = False
        return Capacity(self.slots, "" if self.slots else "claude-agent-service is busy", idle=idle)

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        run = Run(task.bead, token, f"job{len(self.runs)}")
        self.world.sent(run)
        self.runs.append(run)
        self.world.effect("sending")
        says = self.answers.pop(0) if self.answers else Says.ACCEPTED
        run.alive = says in (Says.ACCEPTED, Says.LOST)
        run.maybe = says not in NOTHING_RUNS
        self.world.effect("answering")
        return self.answer(says, run)

    def answer(self, says: Says, run: Run) -> Answer:
        match says:
            case Says.ACCEPTED:
                return Accepted(run.job)
            case Says.REFUSED:
                return Refused("HTTP 500: no", 500)
            case Says.FOR_GOOD:
                return Refused("HTTP 400: never", 400, permanent=True)
            case Says.CREDENTIAL:
                return Refused("HTTP 401: who", 401, halts_rule=True)
            case Says.BUSY:
                return Busy("HTTP 409: busy", 409)
            case Says.BUSY_REST:
                return Busy("HTTP 429: busy", 429, retry_after=600.0)
            case Says.LOST | Says.SILENT:
                return Unknown("no answer")

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        self.world.effect("verdict")
        run = next((run for run in self.runs if run.job == job), None)
        if run is None or not self.tells or self.down:
            return JobReport(Verdict.UNKNOWN)
        return JobReport(Verdict.RUNNING if run.alive else Verdict.LOST)

    def close(self) -> None:
        pass

    def alive(self, bead: str) -> Run | None:
        return next((run for run in reversed(self.runs) if run.bead == bead and run.alive), None)


class HttpService(Service):
    """The same service behind real HTTP.

    The target is the real BeadBoard target. Its server is the stub, which accepts or misbehaves on
    request.
    """

    def __init__(self, world: World, board: BeadBoardStub) -> None:
        super().__init__(world)
        self.board, self.real = board, beadboard(board.url, timeout=5)

    def capacity(self) -> Capacity:
        self.world.effect("capacity")
        self.board.busy = self.slots == 0
        return self.real.capacity()

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        self.task = task
        return super().dispatch(task, token)

    def answer(self, says: Says, run: Run) -> Answer:
        match says:
            case Says.REFUSED:
                self.board.answer_next(400, {"error": f"Bead {run.bead} not found."})
            case Says.FOR_GOOD:
                self.board.answer_next(
                    400, {"error": f"Bead {run.bead} is missing acceptance criteria."}
                )
            case Says.CREDENTIAL:
                self.board.answer_next(502, {"error": "Invalid token"})
            case Says.BUSY:
                self.board.answer_next(409, {"error": "busy"})
            case Says.BUSY_REST:
                self.board.answer_next("retry-after", "600")
            case Says.LOST:
                self.board.answer_next("break-after-accept")
            case Says.SILENT:
                self.board.answer_next(502, {"error": "fetch failed"})
        accepted = len(self.board.accepted)
        answer = self.real.dispatch(self.task, run.token)
        assert run.alive == (len(self.board.accepted) > accepted), (
            "the stub did not follow its script"
        )
        assert self.board.dispatches[-1].headers["idempotency-key"] == run.token
        if isinstance(answer, Accepted):
            run.job = answer.job
        return answer

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        return self.real.verdict(job, started)
