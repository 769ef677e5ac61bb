"""One database, one board, one scenario, and workers that are killed.

Each round has one bead. After it, all conditions are checked.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from dolt_watch.checkpoint.poll import Poller, PollResult
from dolt_watch.cli.composition import identity
from dolt_watch.config import Settings, load
from dolt_watch.engines import Engine
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import Unreachable
from dolt_watch.targets.protocol import Target
from dolt_watch.targets.registry import TargetPool
from dolt_watch.targets.settings import TargetSettings
from tests.faults.board import KillingBoard, Moment
from tests.faults.checks import Checks
from tests.faults.effects import Effects, Ended, Grain, Tell, WatchedTarget, Worker, every, watched
from tests.faults.scenarios import Scenario
from tests.faults.tally import Tally
from tests.stubs.agent_service import AgentServiceStub
from tests.support.beads import create_tracker
from tests.support.clocks import ShiftedClock
from tests.support.lines import build
from tests.support.templates import Snapshot

THEM = "ada <ada@example.com>"
MOST_TICKS = 30
STEP = timedelta(seconds=1)


class WatchedTargets(TargetPool):
    """A target pool. Each call of a target is an effect."""

    def __init__(self, settings: Mapping[str, TargetSettings], effects: Effects) -> None:
        super().__init__(settings)
        self._effects = effects

    def __call__(self, name: str) -> Target:
        return WatchedTarget(super().__call__(name), self._effects)


class Beginning:
    """A prepared round.

    It keeps the database, and the state of the board, the service, the clock and the checks.
    """

    def __init__(self, world: World) -> None:
        self._database = Snapshot(world.address, world.folder / "beginning")
        self._shift, self._folded = world.shift, world.checks.folded
        board = world.board
        self._requests, self._accepted = len(board.requests), len(board.accepted)
        self._answers = list(board.answers[world.bead])
        self._jobs = deepcopy(world.service.jobs) if world.service else {}

    def put_back(self, world: World) -> None:
        self._database.put_back()
        world.shift, world.checks.folded = self._shift, self._folded
        board = world.board
        del board.requests[self._requests :], board.accepted[self._accepted :]
        board.answers[world.bead] = deque(self._answers)
        if world.service:
            world.service.jobs = deepcopy(self._jobs)


class World:
    """A database and a board in one scenario.

    The clocks of the workers are ahead of the database's by ``shift``. It only grows, since time
    continues from one round to the next.
    """

    def __init__(
        self, address: ServerAddress | FileAddress, scenario: Scenario, folder: Path, tally: Tally
    ) -> None:
        self.address, self.scenario, self.tally = address, scenario, tally
        self._stack = contextlib.ExitStack()
        self.service = self._stack.enter_context(AgentServiceStub()) if scenario.service else None
        self.board = self._stack.enter_context(KillingBoard(self._claimed, service=self.service))
        self.settings = self._settings(folder)
        self.shift = timedelta(hours=1)
        self.rounds = 0
        self.folder = folder
        self._beginning: Beginning | None = None
        with self.open(create=True) as engine:
            create_tracker(engine, identity(self.settings).author)
        # After this first start, the feed delivers all changes.
        self.recover()
        with self.open() as engine:
            self.checks = Checks(engine, self.settings, scenario)

    def _settings(self, folder: Path) -> Settings:
        env = {"BEADBOARD_URL": self.board.url}
        # The last one wins, so the scenario's own settings follow.
        unknown = f"rules.agent.on_unknown={self.scenario.on_unknown}"
        more = (f"targets.beadboard.service_url={self.service.url}",) if self.service else ()
        return load(
            {
                "database": self.address.url,
                "config": None,
                "set": (unknown, *self.scenario.settings, *more),
            },
            env,
            folder,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    # -- users --------------------

    @contextlib.contextmanager
    def open(self, create: bool = False) -> Iterator[Engine]:
        """Yield a connection of the test.

        Never open one while a worker is forked, because SQLite's connections don't survive a fork.
        """
        with contextlib.closing(open_engine(self.address, create=create)) as engine:
            yield engine

    def head(self, engine: Engine) -> str:
        return str(engine.query("SELECT HASHOF('HEAD')")[0][0])

    def commit(self, message: str, *sql: str) -> None:
        """Write rows and commit them, as bd does."""
        with self.open() as engine, engine.transaction() as tx:
            for text in sql:
                tx.execute(text)
            tx.dolt_commit(["issues"], message, THEM)

    def notes(self, bead: str) -> list[str]:
        with self.open() as engine:
            return str(
                engine.query("SELECT notes FROM issues WHERE id = ?", (bead,))[0][0]
            ).splitlines()

    def _claimed(self, token: str) -> bool:
        asked = "SELECT COUNT(*) FROM watch_decision AS OF ? WHERE token = ? AND kind = 'claim'"
        try:
            with self.open() as engine:
                return bool(engine.query(asked, (self.head(engine), token))[0][0] == 1)
        except Unreachable:
            return True  # The server was killed. The checks look up each token afterwards.

    # -- workers --------------------

    def work(self, fatal: int = 0, grain: Grain = every) -> Callable[[Tell], int]:
        """Return the work of a worker after its fork: connect, and tick until it is quiet."""

        def body(tell: Tell) -> int:
            effects = Effects(tell, fatal, grain)
            self._until_quiet(
                watched(open_engine(self.address), effects),
                WatchedTargets(self.settings.targets, effects),
                tell,
            )
            return 0

        return body

    def recover(self) -> None:
        """Run a worker in this process that isn't killed."""
        targets = TargetPool(self.settings.targets)
        with self.open() as engine:
            self._until_quiet(engine, targets, lambda line: None)
        targets.close()

    def tidy(self) -> None:
        """Delete the empty records of beads.

        Otherwise, the save that finds a hundred rows writes all beads again.
        """
        with self.open() as engine, engine.transaction() as tx:
            tx.execute("DELETE FROM watch_bead WHERE record = ''")
            tx.commit()

    def _until_quiet(self, engine: Engine, targets: Callable[[str], Target], tell: Tell) -> None:
        """Tick at each due time from the cursor row, until none is left."""
        scope, clock = self.scenario.scope, ShiftedClock(self.shift)
        said: list[str] = []
        loop = build(engine, self.settings, targets, clock, said.append)
        for _ in range(MOST_TICKS):
            loop.tick(scope)
            look = Poller(engine).poll()
            due = self._next(look)
            now = clock.now(look.now)
            if due is None:
                self.shift = clock.offset
                return
            clock.offset += max(due - now, timedelta()) + STEP
            tell(f"clock {clock.offset.total_seconds()}")
        raise AssertionError(f"not quiet after {MOST_TICKS} ticks:\n" + "\n".join(said[-8:]))

    def _next(self, look: PollResult) -> datetime | None:
        """Return the next time at which work is due by time alone.

        Uncommitted rows are due when they have settled.
        """
        moments = [look.due.get(kind) for kind in self.scenario.scope.kinds]
        moments += [seen.since + self.settings.settle for seen in look.seen.values() if seen.dirty]
        return min((at for at in moments if at is not None), default=None)

    # -- rounds --------------------

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """Run the same round again.

        Workers die in the block. Then a worker recovers, and everything is checked. Database, board
        and clock are prepared once, and restored each time.
        """
        if self._beginning is None:
            self._prepare()
            self._beginning = Beginning(self)
        else:
            self._beginning.put_back(self)
        yield
        self._recover_and_check()

    @contextlib.contextmanager
    def round(self) -> Iterator[None]:
        """Run a round with a new bead.

        Workers die in the block. Then a worker recovers, everything is checked, and the bead is
        closed.
        """
        self._prepare()
        bead = self.bead
        yield
        self._recover_and_check()
        if self.service:
            for job in list(self.service.jobs):
                self.service.finish(job)
        self.commit(f"bd: close {bead}", f"UPDATE issues SET status = 'closed' WHERE id = '{bead}'")

    def _prepare(self) -> None:
        self.rounds += 1
        self.board.answers[self.bead] = self.scenario.plan()
        self.scenario.prepare(self, self.bead)

    def _recover_and_check(self) -> None:
        self.board.spare()
        self.recover()
        with self.open() as engine:
            wrong = self.checks.after(engine, self.bead, self.board)
        self.tally.beads += 1
        self.tally.posts += len(self.board.tokens(self.bead))
        self.tally.count(f"{self.scenario}, {self.bead}", wrong)

    @property
    def bead(self) -> str:
        """Return the bead of this round."""
        return f"bd-{self.rounds}"

    def strike(self, fatal: int, grain: Grain = every) -> Ended:
        """Run one worker and kill it at its point ``fatal``, if it gets there. 0 means never."""
        with Worker(self.work(fatal, grain)) as worker:
            worker.start()
            return self._reckon(worker)

    def strike_during(self, moment: Moment, nth: int) -> Ended:
        """Run one worker, which the board kills during its ``nth`` POST, if there is one."""
        with Worker(self.work()) as worker:
            self.board.kill(worker.pid, moment, nth)
            worker.start()
            ended = self._reckon(worker)
        self.board.spare()
        return ended

    def strike_both(self, fatal: Sequence[int]) -> list[Ended]:
        """Run several workers at the same time, and kill each at its own point."""
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(Worker(self.work(point))) for point in fatal]
            for worker in workers:
                worker.start()
            return [self._reckon(worker) for worker in workers]

    def _reckon(self, worker: Worker) -> Ended:
        ended = worker.ended()
        self.board.spare()
        assert ended.killed or (ended.signal, ended.code, ended.error) == (0, 0, ""), (
            ended.error or ended
        )
        self.tally.kills += ended.killed
        self.shift = max(self.shift, timedelta(seconds=ended.clock))
        return ended

    def chaos(self, dice: random.Random, points: int) -> None:
        """Run one round with up to six kills.

        A kill hits one worker, two at the same time, or one during a POST. Early points are more
        likely. Otherwise the first worker would finish the bead.
        """
        with self.round():
            for _ in range(dice.randint(2, 6)):
                kind = dice.random()
                if kind < 0.1:
                    ended = [self.strike_during(dice.choice(list(Moment)), 1)]
                else:
                    ended = self.strike_both(
                        [
                            1 + int(points * dice.random() ** 2)
                            for _ in range(1 if kind < 0.8 else 2)
                        ]
                    )
                if not any(each.killed for each in ended):
                    break
