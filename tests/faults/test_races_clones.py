"""Two clones that sync by push and pull. One watcher and people on both sides: each bead once. Two watchers, which is wrong: the conflict that shows it, and its resolution
as ``docs/clones.md`` tells it, step by step."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.cli.wiring import Targets, build
from dolt_watch.core.policy import Scope
from dolt_watch.engines import Engine
from dolt_watch.engines.address import open_engine
from dolt_watch.migrate import LOCAL, migrate
from dolt_watch.round import Outcome
from dolt_watch.settings import Settings, load
from dolt_watch.targets import Target
from dolt_watch.times import ShiftedClock
from tests import servers
from tests.acceptance.conftest import rows_of
from tests.beads import create_beads
from tests.faults.racing import AT_ONCE, ROOT, clean_env
from tests.servers import Server, call
from tests.stubs.beadboard import BeadBoardStub

PAGE = (ROOT / "docs" / "clones.md").read_text(encoding="utf-8")
STEPS = [
    (side, text.strip())
    for side, text in re.findall(r"^```sql (here|there)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
]


@dataclass
class Side:
    """One clone on a server of its own, and a watcher beside it."""

    server: Server
    settings: Settings
    engine: Engine
    board: BeadBoardStub

    def sql(self, *texts: str) -> list[tuple[Any, ...]]:
        """In one session."""
        return self.server.sql(*texts, database=self.settings.address.database)  # type: ignore[union-attr]

    def commit(self, sql: str) -> None:
        self.sql(sql, "CALL DOLT_COMMIT('-Am', 'by hand')")

    def tick(self, shift: timedelta = timedelta(), targets: Callable[[str], Target] | None = None) -> Outcome:
        own = Targets(self.settings)
        try:
            loop = build(self.engine, self.settings, targets or own, ShiftedClock(shift), lambda line: None)
            return loop.tick(Scope(dispatch=True))
        finally:
            own.close()

    def command(self, name: str) -> subprocess.CompletedProcess[str]:
        sets = [word for each in AT_ONCE for word in ("--set", each)]
        return subprocess.run(
            [sys.executable, "-m", "dolt_watch", name, "--database", self.settings.address.url, *sets],
            env=clean_env() | {"BEADBOARD_URL": self.board.url}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def head(self) -> str:
        return str(self.sql("SELECT HASHOF('HEAD')")[0][0])

    def push(self) -> None:
        self.sql("CALL DOLT_PUSH('origin', 'main')")

    def pull(self) -> None:
        self.sql("CALL DOLT_PULL('origin', 'main')")

    def stream(self, bead: str) -> list[tuple[int, str, str]]:
        return self.sql(f"SELECT version, kind, job_id FROM watch_decision WHERE bead_id = '{bead}' ORDER BY version")


@dataclass
class Clones:
    here: Side
    board: BeadBoardStub
    clone: Callable[[], Side]
    """Makes *there*: a clone of what was pushed."""

    def sent(self) -> Counter[str]:
        return Counter(request.json["taskId"] for request in self.board.dispatches)


@pytest.fixture(scope="module")
def two_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """Of our own: a remote is a folder that both see."""
    program = servers.own_dolt()
    folders = [tmp_path_factory.mktemp(name) for name in ("here", "there")]
    with servers.start_dolt(program, folders[0]) as here, servers.start_dolt(program, folders[1]) as there:
        yield here, there


@pytest.fixture
def clones(two_servers: tuple[Server, Server], tmp_path: Path) -> Iterator[Clones]:
    remote = f"file://{tmp_path / 'remote'}"
    (tmp_path / "remote").mkdir()
    with BeadBoardStub() as board, contextlib.ExitStack() as stack:

        def side(server: Server, database: str) -> Side:
            url = server.address.url.rstrip("/") + "/" + database
            settings = load({"database": url, "set": AT_ONCE}, {"BEADBOARD_URL": board.url}, ROOT)
            engine = open_engine(settings.address)
            stack.callback(server.sql, f"DROP DATABASE `{database}`")
            stack.callback(engine.close)
            return Side(server, settings, engine, board)

        def clone() -> Side:
            name = two_servers[1].unused().database
            two_servers[1].sql(f"CALL DOLT_CLONE('{remote}', '{name}')")
            return side(two_servers[1], name)

        here = side(two_servers[0], two_servers[0].fresh().database)
        create_beads(here.engine)
        list(migrate(here.engine, "dolt-watch <dolt-watch@here>"))
        here.sql(f"CALL DOLT_REMOTE('add', 'origin', '{remote}')", "CALL DOLT_PUSH('-u', 'origin', 'main')")
        yield Clones(here, board, clone)


def test_the_local_tables_enter_no_history(engine: Engine) -> None:
    """On a database whose dolt_ignore is empty, as on bd's, which has rows there: whoever commits all tables does not commit these."""
    create_beads(engine)
    list(migrate(engine, "dolt-watch <dolt-watch@here>"))
    assert sorted(engine.query("SELECT pattern FROM dolt_ignore WHERE ignored")) == sorted((name,) for name in LOCAL)
    assert engine.dirty() == set()
    before = engine.query("SELECT HASHOF('HEAD')")[0][0]
    with engine.transaction() as tx:
        tx.execute("UPDATE watch_cursor SET fence = 'moved'")
        tx.execute(rows_of(["bd-1"]))
        tx.commit()
    call(engine, "dolt_commit", "-Am", "everything")
    assert engine.changed_tables(before, engine.query("SELECT HASHOF('HEAD')")[0][0]) == {"issues"}


def test_one_watcher_and_people_on_both_sides(clones: Clones) -> None:
    """Merge commits are made on either side in turn; after a fast-forward onto one made there, our line is its second parent."""
    here, there = clones.here, clones.clone()
    expected: Counter[str] = Counter()
    for number in range(6):
        there.commit(rows_of([f"bd-there{number}"]))
        here.commit(rows_of([f"bd-here{number}"]))
        here.tick()
        if number % 2:
            here.push()
            there.pull()  # merges there
            there.push()
        else:
            there.push()
        here.pull()  # merges here, or follows
        here.tick()
        here.push()
        there.pull()
        expected.update([f"bd-here{number}", f"bd-there{number}"])
        assert clones.sent() == expected
    assert here.head() == there.head()
    assert len(here.sql("SELECT commit_hash FROM dolt_commit_ancestors WHERE parent_index = 1")) >= 6
    for bead in expected:
        assert [(version, kind) for version, kind, _ in there.stream(bead)] == [(1, "claim"), (2, "dispatched")]
    before = here.head()
    assert here.tick().rounds == 0
    assert here.head() == before


def test_a_clone_has_to_be_initialised(clones: Clones) -> None:
    """The local tables stay behind; made anew, they are filled from the ledger, and what was claimed or sent is not sent again."""
    here = clones.here

    class Dies:
        timeout = 30.0

        def __init__(self, target: Target) -> None:
            self.capacity = target.capacity

        def dispatch(self, *asked: Any) -> Any:
            raise KeyboardInterrupt

    here.commit(rows_of(["bd-1sent"]))
    assert here.tick().dispatched == 1
    here.commit(rows_of(["bd-2claimed"]))
    own = Targets(here.settings)
    with pytest.raises(KeyboardInterrupt):
        here.tick(targets=lambda name: Dies(own(name)))  # type: ignore[arg-type, return-value]
    own.close()
    here.commit(rows_of(["bd-3waits"]))
    here.push()
    there = clones.clone()

    refused = there.command("dispatch")
    assert (refused.returncode, "dolt_watch init" in refused.stderr, refused.stdout) == (3, True, "")
    assert clones.sent() == {"bd-1sent": 1}
    made = there.command("init")
    assert (made.returncode, made.stderr) == (0, "")
    held = there.command("dispatch")
    assert (held.returncode, held.stderr, clones.sent()) == (0, "", {"bd-1sent": 1})
    assert "holding bd-3waits" in held.stdout
    assert there.command("resume").returncode == 0
    done = there.command("dispatch")
    assert (done.returncode, done.stderr) == (0, "")
    assert clones.sent() == {"bd-1sent": 1, "bd-3waits": 1}

    later = there.tick(timedelta(minutes=2))  # past the deadline of the claim whose worker died: not known, so not sent
    assert (later.unknown, clones.sent()) == (1, {"bd-1sent": 1, "bd-3waits": 1})
    assert [kind for _, kind, _ in there.stream("bd-2claimed")] == ["claim", "overdue"]


def test_two_watchers_and_how_it_is_mended(clones: Clones) -> None:
    here = clones.here
    here.commit(rows_of(["bd-both"]))
    here.push()
    there = clones.clone()
    assert there.command("init").returncode == 0
    assert (here.tick().dispatched, there.tick().dispatched) == (1, 1)
    assert clones.sent() == {"bd-both": 2}  # this is what must not be done
    there.push()
    (job_here, job_there) = (side.stream("bd-both")[1][2] for side in (here, there))

    here.commit("UPDATE issues SET title = 'local' WHERE id = 'bd-both'")
    with pytest.raises(Exception, match="Merge conflict detected"):
        here.pull()
    assert here.tick().rounds > 0  # rolled back: nothing stands
    before = here.head()

    assert [side for side, _ in STEPS] == ["here"] * 4 + ["there"]
    pull, look, keep, finish, follow = (text.rstrip(";").split(";\n") for _, text in STEPS)
    with contextlib.closing(here.server.connect(here.settings.address.database)) as session:  # type: ignore[union-attr]

        def step(texts: list[str]) -> list[tuple[Any, ...]]:
            with session.cursor() as cursor:
                for text in texts:
                    cursor.execute(text)
                return list(cursor.fetchall())

        assert dict(step(pull)) == {"watch_decision": 2, "issues": 1}
        for _ in range(2):
            tick = here.command("dispatch")
            assert (tick.returncode, tick.stderr) == (0, "")
            assert "merge" in tick.stdout
            assert "skipping tick" in tick.stdout
        assert here.head() == before
        assert sorted(step(look)) == [
            ("bd-both", 1, "claim", "", ""),
            ("bd-both", 2, "dispatched", job_here, job_there),
        ]
        step(keep)
        assert "skipping tick" in here.command("dispatch").stdout
        step(finish)
    there.sql(*follow)

    assert here.head() == there.head() != before
    assert here.stream("bd-both") == [(1, "claim", ""), (2, "dispatched", job_here)]
    for shift in (0, 2):
        assert here.tick(timedelta(minutes=shift)).exit_code == 0
        assert there.tick(timedelta(minutes=shift)).exit_code == 0  # even this one, which should have been stopped
    assert clones.sent() == {"bd-both": 2}
    there.commit(rows_of(["bd-next"]))
    there.pull()
    there.push()
    here.pull()
    assert here.tick().dispatched == 1
    assert clones.sent() == {"bd-both": 2, "bd-next": 1}
    for side in (here, there):
        versions = [version for version, _, _ in side.stream("bd-both")]
        assert versions == list(range(1, len(versions) + 1))
