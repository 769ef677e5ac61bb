"""``python -m bench.past [--commits N]``: what it costs to ask about the past, on one long history."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from bench.ground import DISPATCH, INSERT, Place, own_server, place
from bench.measure import alternate
from dolt_watch.cli.wiring import policy
from dolt_watch.engines.address import open_engine
from dolt_watch.look import WATCHED
from dolt_watch.past import Past
from tests.servers import Server
from tests.stubs.beadboard import BeadBoardStub

BEADS = 200
BEAD = "bd-why"
RUNS = 10
WHY = (sys.executable, "-m", "dolt_watch", "why", BEAD)


def history(server: Server, folder: Path, board: str, commits: int) -> Place:
    """A tracker with so many commits, most of them to issues and events, some to comments; ``BEAD`` is in one of 250, and was dispatched half-way."""
    here = place(server, folder, board)
    beads = [BEAD, *(f"bd-n{n:03}" for n in range(BEADS))]
    text = "Lorem ipsum dolor sit amet. " * 20
    with contextlib.closing(server.connect(here.address.database)) as connection, connection.cursor() as cursor:
        rows = (f"('{bead}', 'Bead', '{text}', '', 'works', '', 'open', 2, 'somebody', NOW(), NOW())" for bead in beads)
        cursor.execute(INSERT + ", ".join(rows))
        cursor.execute("CALL DOLT_COMMIT('-Am', 'beads')")
        for n in range(commits - here.commits() - 3):
            if n == commits // 2:
                cursor.execute(f"UPDATE issues SET assignee = 'agent' WHERE id = '{BEAD}'")
                cursor.execute("CALL DOLT_COMMIT('-am', 'assign')")
                here.run((*DISPATCH, "--set", "settle=0s"), "dispatched ")
            bead = BEAD if n % 250 == 0 else beads[1 + n * 7919 % BEADS]
            if n % 5 == 4:
                cursor.execute(f"INSERT INTO comments (issue_id, author, text) VALUES ('{bead}', 'ann', 'comment {n}')")
            else:
                cursor.execute(f"UPDATE issues SET priority = {n % 5}, title = 'Title {n}' WHERE id = '{bead}'")
                cursor.execute(f"INSERT INTO events (issue_id, event_type, actor) VALUES ('{bead}', 'updated', 'ann')")
            cursor.execute(f"CALL DOLT_COMMIT('-Am', 'bd: update {bead}')")
    here.run((*DISPATCH, "--set", "settle=0s"))
    return here


def past(server: Server, folder: Path, board: str, commits: int) -> list[tuple[str, str, str, str, str]]:
    """As lines of the table."""
    here = history(server, folder, board, commits)
    (why,) = alternate(RUNS, lambda _: here.run(WHY, "to go: nothing: it runs"))
    return [
        (f"why, {commits:,} commits, as a process", f"{why * 1000:.0f} ms", "", "", "<= 1000 ms"),
        *replay(here, commits),
    ]


def replay(here: Place, commits: int) -> list[tuple[str, str, str, str, str]]:
    """Folding all of it again, against fetching the diffs in one stream: of issues alone, and of all that the watcher reads."""
    with contextlib.closing(open_engine(here.address)) as engine:
        head = engine.query("SELECT HASHOF('HEAD')")[0][0]
        root = engine.query("SELECT commit_hash FROM dolt_log WHERE message = 'beads'")[0][0]

        def folded(_: int) -> float:
            start = time.perf_counter()
            past = Past(engine, policy(here.settings), head)
            assert sum(1 for _ in past.steps(root, past.current)) > commits / 2
            return time.perf_counter() - start

        def streamed(*tables: str) -> float:
            start = time.perf_counter()
            for table in tables:
                engine.query(f"SELECT * FROM dolt_diff_{table}")
            return time.perf_counter() - start

        fold, issues, all_of_it = alternate(
            3, folded, lambda _: streamed("issues"), lambda _: streamed(*WATCHED, "watch_decision")
        )  # fmt: skip
    return [
        (
            f"replay, {commits:,} commits : diffs of issues in one stream",
            f"{fold:.2f} s",
            f"{issues:.2f} s",
            f"{fold / issues:.2f}",
            "<= 2",
        ),
        (
            "replay : diffs of all watched tables, a stream each",
            f"{fold:.2f} s",
            f"{all_of_it:.2f} s",
            f"{fold / all_of_it:.2f}",
            "",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.past", description=__doc__)
    parser.add_argument("--commits", type=int, default=10_000)
    commits = parser.parse_args().commits
    with (
        tempfile.TemporaryDirectory(prefix="dolt_watch-bench-") as name,
        own_server(Path(name)) as server,
        BeadBoardStub() as board,
    ):
        for line in past(server, Path(name) / "past", board.url, commits):
            print(*(cell for cell in line if cell), sep="  ")


if __name__ == "__main__":
    main()
