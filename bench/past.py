"""``python -m bench.past [--commits N]``: what it costs to ask about the past, on one long history."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from bench.ground import DISPATCH, INSERT, Place, place
from tests.servers import Server

BEADS = 200
BEAD = "bd-why"
WHY = (sys.executable, "-m", "dolt_watch", "why", BEAD)


def history(server: Server, folder: Path, board: str, commits: int) -> Place:
    """A tracker with so many commits, most of them to issues and events, some to comments; ``BEAD`` is in one of 250, and was dispatched half-way."""
    here = place(server, folder, board)
    with contextlib.closing(server.connect(here.address.database)) as connection, connection.cursor() as cursor:
        beads = [BEAD, *(f"bd-n{n:03}" for n in range(BEADS))]
        text = "Lorem ipsum dolor sit amet. " * 20
        rows = ", ".join(
            f"('{bead}', 'Bead {bead}', '{text}', '', 'works', '', 'open', 2, 'somebody', NOW(), NOW())"
            for bead in beads
        )
        cursor.execute(INSERT + rows)
        cursor.execute("CALL DOLT_COMMIT('-Am', 'beads')")
        for n in range(commits - here.commits() - 2):
            bead = BEAD if n % 250 == 0 else beads[1 + n * 7919 % BEADS]
            if n == commits // 2 // 250 * 250:
                cursor.execute(f"UPDATE issues SET assignee = 'agent' WHERE id = '{BEAD}'")
                cursor.execute("CALL DOLT_COMMIT('-am', 'assign')")
                here.run((*DISPATCH, "--set", "settle=0s"), "dispatched ")
            if n % 5 == 4:
                cursor.execute(f"INSERT INTO comments (issue_id, author, text) VALUES ('{bead}', 'ann', 'comment {n}')")
            else:
                cursor.execute(f"UPDATE issues SET priority = {n % 5}, title = 'Title {n}' WHERE id = '{bead}'")
                cursor.execute(f"INSERT INTO events (issue_id, event_type, actor) VALUES ('{bead}', 'updated', 'ann')")
            cursor.execute(f"CALL DOLT_COMMIT('-Am', 'bd: update {bead}')")
    here.run((*DISPATCH, "--set", "settle=0s"))
    return here
