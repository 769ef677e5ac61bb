"""Generated what-ifs of any size, equal for equal seeds.

Runs have the same duration in the recorded and the simulated history, but begin at other times.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import Bead, EntryKind, Phase
from dolt_watch.core.model.rule import Rule
from dolt_watch.engines import Commit
from dolt_watch.inspection.report.what_if import Compared, mentioned_beads
from dolt_watch.replay.simulation.attempt_log import Attempt, AttemptLog, EntryRecord
from dolt_watch.replay.simulation.comparison import compare, figures
from dolt_watch.replay.simulation.queue_depth import QueueDepthRecorder
from dolt_watch.replay.simulation.schedule import Cadence
from dolt_watch.replay.simulation.what_if import WhatIfRequest, WhatIfResult
from tests.browser.made import NOW, WEEK, WORDS

MINUTE = timedelta(minutes=1)
BEGINS = NOW - WEEK
ENDS = ("closed", "closed", "closed", "closed", "reap", "blocked", "")
WHY = "no progress for 31m (threshold 30m)"
LONG_WHEN = (
    "assignee = 'agent' AND status = 'open' AND acceptance_criteria <> '' AND priority <= 2 AND"
    " issue_type <> 'epic'"
)
WAITS = "1 of 1 in flight: bd-7 (running)"


def whatif(beads: int = 40, title: str = "", bead: str = "bd-{}") -> Compared:
    rng = random.Random(beads)
    recorded, simulated = AttemptLog(), AttemptLog()
    for number in range(beads):
        _bead(rng, bead.format(number), recorded, simulated)
    waiting = {bead.format(number): WAITS for number in range(0, beads, 9)}
    before, after = (
        Rule("agent"),
        Rule("agent", when=LONG_WHEN, stale_after=15 * MINUTE, max_in_flight=2),
    )
    question = WhatIfRequest(
        Policy((after,), timedelta(seconds=5)),
        2 * MINUTE,
        Commit("q8s7d2" * 5, (), BEGINS, "ann"),
        Commit("m3v9k1" * 5, (), NOW, "ann"),
    )
    span = NOW - BEGINS
    study = WhatIfResult(
        question,
        beads * 6,
        recorded,
        recorded,
        simulated,
        compare(
            recorded,
            recorded,
            simulated,
            2 * MINUTE,
            lambda bead: waiting.get(bead, "it does not match"),
        ),
        figures(recorded, span),
        figures(recorded, span),
        figures(simulated, span),
        waiting,
        tuple(waiting),
        20 * MINUTE,
        1,
        Policy((before,), timedelta(seconds=5)) if beads else None,
        (_depths(recorded), _depths(simulated)),
        Cadence(2 * MINUTE, "recorded"),
    )
    return Compared(
        study, {one: title or rng.choice(WORDS) for one in sorted(mentioned_beads(study))}
    )


def _bead(rng: random.Random, bead: str, recorded: AttemptLog, simulated: AttemptLog) -> None:
    matched = BEGINS + WEEK * rng.random() * 0.95
    claimed, lasts, how = (
        matched + MINUTE * rng.expovariate(1 / 40),
        MINUTE * rng.expovariate(1 / 60),
        rng.choice(ENDS),
    )
    ended = min(NOW, claimed + lasts) if how else None
    was = Attempt(bead, "agent", 1, bead, claimed, matched, sent=claimed, ended=ended, outcome=how)
    moved = matched + (claimed - matched) * rng.choice((0.2, 0.5, 1, 1, 1.5))
    now = replace(was, claimed=moved, sent=moved, ended=min(NOW, moved + lasts) if ended else None)
    for journal, one, is_in in (
        (recorded, was, rng.random() < 0.9),
        (simulated, now, rng.random() < 0.9),
    ):
        if is_in:
            journal.attempts.append(one)
            if one.outcome == "reap" and one.ended is not None:
                journal.records.append(
                    EntryRecord(bead, EntryKind.REAP, one.ended, 1, rule="agent", reason=WHY)
                )
    if rng.random() < 0.1:
        recorded.attempts.append(
            Attempt(bead, "agent", 1, f"{bead}-failed", claimed, matched, outcome="failed")
        )


def _depths(journal: AttemptLog) -> QueueDepthRecorder:
    depths = QueueDepthRecorder({})
    for at, bead in sorted(_moves(journal), key=lambda move: (move[0], move[1].id)):
        depths.record(at, bead.id, bead)
    return depths


def _moves(journal: AttemptLog) -> Iterator[tuple[datetime, Bead]]:
    for one in journal.attempts:
        if one.sent is not None:
            yield (
                one.matched or one.claimed,
                Bead(one.bead, Phase.WAITING, one.rule, one.claimed, ""),
            )
            yield one.claimed, Bead(one.bead, Phase.RUNNING, one.rule, one.claimed, "")
            if one.ended is not None:
                yield one.ended, Bead(one.bead, Phase.HELD, one.rule, one.ended, "")
