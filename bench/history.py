"""A long history for commands about the past.

Most commits change issues and events, some comments. Some beads are dispatched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain, cycle

from pymysql.constants import CLIENT

from bench.ground import INSERT, Place
from bench.measure import ticked
from dolt_watch.config import load

BEADS = 200
BEAD = "bd-why"
BATCH = 50
"""Number of commits that are sent at once."""
EACH = 200
"""Number of commits per dispatch."""


def history(here: Place, commits: int) -> None:
    """Extend the history to about this number of commits, unless an earlier part has done that.

    One of 250 commits changes ``BEAD``, which is dispatched first and keeps running. Other beads
    are dispatched every ``EACH`` commits, and each is closed before the next dispatch.
    """
    if here.commits() > 0.9 * commits:
        return
    settings = load(
        {"set": ("settle=0s", "rules.agent.max_in_flight=2")}, here.run.env, here.run.cwd
    )
    dispatches = commits // EACH
    beads = [BEAD, *(f"bd-n{n:03}" for n in range(BEADS))]
    text = "Lorem ipsum dolor sit amet. " * 20
    rows = (
        f"('{bead}', 'Bead', '{text}', '', 'works', '', 'open', 2, 'somebody', NOW(), NOW())"
        for bead in beads
    )
    here.sql(
        INSERT.replace("INSERT", "INSERT IGNORE") + ", ".join(rows),
        "CALL DOLT_COMMIT('-Am', 'beads')",
    )
    every = commits // (dispatches + 1)
    goes = {
        number * every // BATCH * BATCH: bead
        for number, bead in zip(
            range(1, dispatches + 1), chain(beads[:1], cycle(beads[1:])), strict=False
        )
    }
    multi = here.server.connect(here.address.database, client_flag=CLIENT.MULTI_STATEMENTS)
    with contextlib.closing(multi) as connection, connection.cursor() as cursor:
        # This takes a third less time than DOLT_COMMIT.
        cursor.execute("SET @@dolt_transaction_commit = 1")
        for start in range(0, commits - here.commits() - 4 * dispatches, BATCH):
            if start in goes:
                here.sql(
                    "UPDATE issues SET status = 'closed' WHERE status = 'in_progress' AND id <>"
                    f" '{BEAD}'",
                    "UPDATE issues SET assignee = 'agent', status = 'open' WHERE id ="
                    f" '{goes[start]}'",
                    "CALL DOLT_COMMIT('-am', 'assign')",
                )
                ticked(settings, "dispatched ")
            cursor.execute(
                "; ".join(text for n in range(start, start + BATCH) for text in _commit(n, beads))
            )
            while cursor.nextset():
                pass
    ticked(settings)


def _commit(n: int, beads: list[str]) -> Iterator[str]:
    yield "START TRANSACTION"
    bead = BEAD if n % 250 == 0 else beads[1 + n * 7919 % BEADS]
    if n % 5 == 4:
        yield (
            f"INSERT INTO comments (issue_id, author, text) VALUES ('{bead}', 'ann', 'comment {n}')"
        )
    else:
        yield f"UPDATE issues SET priority = {n % 5}, title = 'Title {n}' WHERE id = '{bead}'"
        yield (
            f"INSERT INTO events (issue_id, event_type, actor) VALUES ('{bead}', 'updated', 'ann')"
        )
    yield "COMMIT"
