"""What is measured: every line of the table, with its bar, what stands beside it, and why we
stand above that.

The parts yield figures for these lines and for no others; docs/performance.md is made of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

OURS, FLOOR, ORIGINAL = "ours", "floor", "original"


class Bar(NamedTuple):
    """At most ``most``: of ours as it is, or as a multiple of what stands beside it."""

    most: float
    of: str = OURS


class Line(NamedTuple):
    """One figure that is measured. ``floor``: what the physical floor beside it is."""

    name: str
    unit: str
    floor: str
    why: str
    bar: Bar | None = None


class Part(NamedTuple):
    """Lines that one function measures together. ``how`` is for people."""

    name: str
    title: str
    how: str
    lines: Sequence[Line]


PROCESS = "a process of the same interpreter that imports pymysql, connects and asks one query"
PLAIN = f"{PROCESS}, without TLS set-up"
BARE = (
    "the same without the TLS set-up that pymysql does by default and we leave out on loopback: the"
    " harder comparison"
)
COMMITS = "two bare commits over pymysql: status, note and event row, no ledger"
MODULES = (
    "click, tomllib and the settings are imported and read before the one query, which is all that"
    " is asked"
)
LOOP = (
    "the loop is imported, the changes are read, and cursor and state are saved in one transaction"
)
LEDGER = (
    "the ledger row with its inputs, the gates asked again in the claim's transaction, the look and"
    " the diff before and after"
)
HEIGHT = "a deeper prolly tree: a logarithm, no scan"
LOADED = (
    "a command reads the whole saved state, one record a waiting bead; `dolt_watch run` has it in"
    " memory"
)

PARTS = (
    Part(
        "idle",
        "A tick that finds nothing",
        "Wall clock of `dolt_watch dispatch` as a process; the original is `bench/original.sh` with"
        " nothing to do.",
        (
            Line("idle tick (python -m)", "ms", PROCESS, MODULES, Bar(1.4, FLOOR)),
            Line("idle tick (console script)", "ms", PROCESS, MODULES, Bar(1.4, FLOOR)),
            Line("idle tick (console script), harder floor", "ms", BARE, MODULES, Bar(1.4, FLOOR)),
            Line("idle tick: bytes written, the most", "B", "nothing", "nothing", Bar(0)),
        ),
    ),
    Part(
        "noise",
        "A tick after a change that leads to no decision",
        "The same after a commit to `issues` that concerns no bead of the rule.",
        (
            Line("noise tick", "ms", PROCESS, LOOP, Bar(1.6, FLOOR)),
            Line("noise tick, harder floor", "ms", BARE, LOOP, Bar(1.6, FLOOR)),
        ),
    ),
    Part(
        "dispatch",
        "A dispatch",
        "The same with one bead to send to a stub of BeadBoard. Database time is inside the"
        " engine's calls in the bench's own process, without connecting and HTTP. Disk is the"
        " growth of the database's files by one dispatch: two decisions.",
        (
            Line(
                "dispatch tick",
                "ms",
                f"a process that connects, finds the bead, makes {COMMITS}, and two HTTP requests"
                " by http.client",
                f"httpx and the loop are imported; {LEDGER}",
                Bar(0.4, ORIGINAL),
            ),
            Line(
                "dispatch: Dolt commits",
                "",
                "intent before, outcome after the POST",
                "nothing",
                Bar(2),
            ),
            Line("dispatch: database time", "ms", COMMITS, LEDGER, Bar(25)),
            Line(
                "dispatch: disk",
                "KB",
                COMMITS,
                "the ledger row, in a table and its tree",
                Bar(1, ORIGINAL),
            ),
        ),
    ),
    Part(
        "latency",
        "From the commit of an assignment to the POST",
        "`run`: a real one, poll 1 s, settle 0.5 s, assignments at any moment between two polls."
        " CronJobs: the time from a process' start to its POST is measured; the moments of"
        " assignment are spread evenly over the two minutes of the schedule `*/2 * * * *`, and a"
        " bead younger than `settle` is waited for. Left out for both: the start of a pod, which"
        " adds its seconds to each.",
        (
            Line(
                "run: commit to POST, median",
                "s",
                "drawn: the pauses of a service with this poll, and settle; all else takes no time",
                "two looks, the diff, the claim's commit and an HTTP request come after the pause",
            ),
            Line(
                "run: commit to POST, 95th percentile",
                "s",
                "the same draw",
                "as the median",
                Bar(1.55),
            ),
            Line(
                "CronJob: commit to POST, median",
                "s",
                "the schedule itself",
                "a process starts, and claims, first",
            ),
            Line(
                "CronJob: commit to POST, 95th percentile",
                "s",
                "the schedule itself",
                "as the median",
            ),
            Line(
                "run: processor time of an idle poll",
                "ms",
                "the same query over pymysql",
                "the lock's query beside it, reading the row, and asking whether anything is due",
                Bar(1),
            ),
        ),
    ),
    Part(
        "sizes",
        "Cost by what changed, never by how much there is: rows and commits",
        "Database time of a noise tick; the floor is the small database.",
        (
            Line("noise tick, many rows", "ms", "the same with few rows", HEIGHT, Bar(1.2, FLOOR)),
            Line(
                "noise tick, long history",
                "ms",
                "the same with a short history",
                HEIGHT,
                Bar(1.2, FLOOR),
            ),
        ),
    ),
    Part(
        "waiting",
        "Cost by what changed, never by how much there is: waiting beads",
        "Beads that match and cannot go, since `max_in_flight` is 1 and one runs; a dispatch is one"
        " among them. The floor is the same with fewer of them.",
        (
            Line("idle tick: queries", "", "one", "nothing", Bar(1)),
            *(
                Line(f"{what}, waiting × {times}", "ms", "the same with fewer waiting", why, bar)
                for times in (10, 100)
                for what, why, bar in (
                    (
                        "idle tick",
                        "nothing: the cursor row knows that nothing is due",
                        Bar(1.2, FLOOR),
                    ),
                    ("noise tick", LOADED, None),
                    ("dispatch tick", LOADED, None),
                    ("dispatch tick: database time", LOADED, None),
                    (
                        "a dispatch in run: database time",
                        "only chunks of the queue are asked for readiness",
                        Bar(1.2, FLOOR),
                    ),
                    ("a dispatch in run: processor time", "the queue is sorted in memory", None),
                )
            ),
        ),
    ),
    Part(
        "claims",
        "Claims by several workers on one server",
        "Worker processes on one backlog, `max_in_flight` out of the way, against a stub that"
        " answers at once. From the start to the last settled bead.",
        (
            *(
                Line(
                    f"beads a second, {workers} worker{'s' * (workers > 1)}",
                    "/s",
                    f"{COMMITS}, one connection, no HTTP",
                    f"{LEDGER}; an HTTP request"
                    + ("; the fence lets one decide at a time" if workers > 1 else ""),
                )
                for workers in (1, 2, 4, 8)
            ),
            Line(
                "conflicts a bead, 8 workers",
                "",
                "none",
                "who lost the race for the fence looks again",
            ),
            Line("beads that were sent twice, all of these runs", "", "none", "nothing", Bar(0)),
        ),
    ),
    Part(
        "past",
        "Asking the past",
        "One history of issues, events and comments. `why` as a process; replay is the fold of all"
        " of it in one process.",
        (
            Line(
                "why, as a process",
                "ms",
                PLAIN,
                "the bead's own changes are read out of all of history",
                Bar(1500),
            ),
            Line(
                "replay: folding all of history",
                "s",
                "the diffs of issues in one stream",
                "other tables, and the fold in Python",
                Bar(2, FLOOR),
            ),
            Line(
                "replay, against all it reads",
                "s",
                "the diffs of every watched table, a stream each",
                "the fold in Python",
            ),
        ),
    ),
    Part(
        "memory",
        "Memory",
        "Resident memory; of the commands that read history, the most that it ever was. The floor"
        " is the process of the idle tick's harder floor. One history, read up to two commits"
        " of it.",
        (
            Line(
                "run: idle",
                "MB",
                PLAIN,
                "httpx, prometheus-client and the report's templates",
                Bar(80),
            ),
            Line(
                "run: after its work", "MB", PLAIN, "as idle, and what the allocator keeps", Bar(80)
            ),
            *(
                Line(
                    f"{command}, {length} history",
                    "MB",
                    PLAIN,
                    f"the window of history that is read at once; {keeps}",
                    Bar(120),
                )
                for command, keeps in (
                    ("replay --verify", "the ledger's entries"),
                    (
                        "replay",
                        (
                            "the ledger's entries, and, packed, all that was done to beads that"
                            " were ever dispatched"
                        ),
                    ),
                    ("events", "nothing is kept"),
                )
                for length in ("short", "long")
            ),
        ),
    ),
)
