"""All measurements: each line of the table with its bar, its floor, and the reason for the
difference.

The parts yield figures for exactly these lines. bench/results.md is generated from both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

OURS, FLOOR, ORIGINAL = "ours", "floor", "original"


class Bar(NamedTuple):
    """A maximum, ``most``: an absolute value, or a multiple of the floor or of the original."""

    most: float
    of: str = OURS


class Line(NamedTuple):
    """One figure. ``floor`` describes the physical floor that the figure is compared with."""

    name: str
    unit: str
    floor: str
    why: str
    bar: Bar | None = None


class Part(NamedTuple):
    """A group of lines that one function measures together. ``how`` describes the method."""

    name: str
    title: str
    how: str
    lines: Sequence[Line]


PROCESS = "a process of the same interpreter that imports pymysql, connects and asks one query"
PLAIN = f"{PROCESS}, without TLS setup"
BARE = (
    "the same without the TLS setup, which pymysql does by default and dolt_watch omits on"
    " loopback:"
    " the harder comparison"
)
COMMITS = "two bare commits over pymysql: status, note and event row, no ledger"
MODULES = "click and tomllib are imported, and the settings are read, before the only query"
LOOP = (
    "the loop is imported, the changes are read, and the cursor and the state are saved in one"
    " transaction"
)
LEDGER = (
    "the ledger row with its inputs, the gates checked again in the claim's transaction, the poll"
    " and"
    " the diff before and after"
)
HEIGHT = "a deeper prolly tree: logarithmic, no scan"
LOADED = (
    "a command reads the whole saved state, with a record of each waiting bead; `dolt_watch run`"
    " keeps it in memory"
)

PARTS = (
    Part(
        "idle",
        "A tick that finds nothing",
        "Wall-clock time of `dolt_watch dispatch` as a process. The original is"
        " `bench/original.sh` with"
        " nothing to do.",
        (
            Line("idle tick (python -m)", "ms", PROCESS, MODULES, Bar(1.4, FLOOR)),
            Line("idle tick (console script)", "ms", PROCESS, MODULES, Bar(1.4, FLOOR)),
            Line("idle tick (console script), harder floor", "ms", BARE, MODULES, Bar(1.4, FLOOR)),
            Line("idle tick: bytes written, maximum", "B", "nothing", "nothing", Bar(0)),
        ),
    ),
    Part(
        "noise",
        "A tick after a change that leads to no decision",
        "The same after a commit to `issues` that affects no bead of the rule.",
        (
            Line("noise tick", "ms", PROCESS, LOOP, Bar(1.5, FLOOR)),
            Line("noise tick, harder floor", "ms", BARE, LOOP, Bar(1.5, FLOOR)),
        ),
    ),
    Part(
        "dispatch",
        "A dispatch",
        "The same with one bead to send to a stub of BeadBoard. Database time is the time inside"
        " the"
        " engine's calls in the bench's own process, without connecting and without HTTP. Disk is"
        " the growth of the database's files by one dispatch, which is two decisions.",
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
                "one before the POST (claim), one after it (outcome)",
                "nothing",
                Bar(2),
            ),
            Line("dispatch: database time", "ms", COMMITS, LEDGER, Bar(2, FLOOR)),
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
        "`run` is a real one with poll 1 s and settle 0.5 s. Assignments come at any moment"
        " between two"
        " polls. For CronJobs, the time from the start of a process to its POST is measured, and"
        " the"
        " assignments are spread evenly over the two minutes of the schedule `*/2 * * * *`. The"
        " process waits for a bead younger than `settle`. The start of a pod, which takes further"
        " seconds, is not included.",
        (
            Line(
                "run: commit to POST, median",
                "s",
                "simulated: the pauses of a service with this poll, and settle; everything else"
                " takes no time",
                "two polls, the diff, the claim's commit and an HTTP request follow the pause",
            ),
            Line(
                "run: commit to POST, 95th percentile",
                "s",
                "the same simulation",
                "as the median",
                Bar(1.55),
            ),
            Line(
                "CronJob: commit to POST, median",
                "s",
                "the schedule itself",
                "a process starts and claims first",
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
                "the query of the lock, reading the row, and checking whether anything is due",
                Bar(1),
            ),
        ),
    ),
    Part(
        "sizes",
        "Cost depends on the changes, not on the size: rows and commits",
        "Database time of a noise tick. The floor is the small database.",
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
        "Cost depends on the changes, not on the size: waiting beads",
        "Beads that match and wait, because `max_in_flight` is 1 and one runs. A dispatch sends"
        " one of"
        " them. The floor is the same with fewer waiting beads.",
        (
            Line("idle tick: queries", "", "one", "nothing", Bar(1)),
            *(
                Line(f"{what}, waiting × {times}", "ms", "the same with fewer waiting", why, bar)
                for times in (10, 100)
                for what, why, bar in (
                    (
                        "idle tick",
                        "nothing: the cursor row says that nothing is due",
                        Bar(1.2, FLOOR),
                    ),
                    ("noise tick", LOADED, Bar(1.2, FLOOR)),
                    ("dispatch tick", LOADED, Bar(1.2, FLOOR)),
                    ("dispatch tick: database time", LOADED, None),
                    (
                        "a dispatch in run: database time",
                        "readiness is checked for parts of the queue only",
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
        "Worker processes on one backlog, with a high `max_in_flight` and a stub that answers at"
        " once."
        " From the start to the last settled bead.",
        (
            *(
                Line(
                    f"beads a second, {workers} worker{'s' * (workers > 1)}",
                    "/s",
                    f"{COMMITS}, one connection, no HTTP",
                    f"{LEDGER}; an HTTP request"
                    + ("; the fence allows one decision at a time" if workers > 1 else ""),
                )
                for workers in (1, 2, 4, 8)
            ),
            Line(
                "time a bead, 8 workers",
                "ms",
                "the same with one worker",
                "statements for turns, and for the state that each worker reads in its turn",
                Bar(1.05, FLOOR),
            ),
            Line(
                "conflicts a bead, 8 workers",
                "",
                "none",
                "a worker that loses the race for the fence polls again",
                Bar(0.1),
            ),
            Line("beads sent twice, all of these runs", "", "none", "nothing", Bar(0)),
        ),
    ),
    Part(
        "past",
        "Reading history",
        "One history of issues, events and comments. `why` as a process; replay applies all of it"
        " in one"
        " process.",
        (
            Line(
                "why, as a process",
                "ms",
                PLAIN,
                "the bead's own changes are selected from all of history",
                Bar(1500),
            ),
            Line(
                "replay: applying all of history",
                "s",
                "the diffs of issues in one stream",
                "the other tables, and applying the events in Python",
                Bar(2, FLOOR),
            ),
            Line(
                "replay, compared with everything it reads",
                "s",
                "the diffs of every watched table, one stream each",
                "applying the events in Python",
            ),
            Line(
                "replay --verify with a backlog",
                "s",
                "reading the same history",
                "computing each decision again, with the head of its queue",
                Bar(3, FLOOR),
            ),
        ),
    ),
    Part(
        "memory",
        "Memory",
        "Resident memory. For commands that read history, the maximum. The floor is the process"
        " of the"
        " idle tick's harder floor. Both lengths are of one history.",
        (
            Line(
                "run: idle",
                "MB",
                PLAIN,
                "httpx, prometheus-client and the report's templates",
                Bar(80),
            ),
            Line(
                "run: after its work",
                "MB",
                PLAIN,
                "as idle, plus the memory that the allocator keeps",
                Bar(80),
            ),
            *(
                Line(
                    f"{command}, {length} history",
                    "MB",
                    PLAIN,
                    f"the part of history that is read at once; {keeps}",
                    Bar(120),
                )
                for command, keeps in (
                    ("replay --verify", "the ledger's entries"),
                    (
                        "replay",
                        (
                            "the ledger's entries and, compressed, every change of beads that"
                            " were dispatched"
                        ),
                    ),
                    ("events", "nothing is kept"),
                )
                for length in ("short", "long")
            ),
        ),
    ),
)
