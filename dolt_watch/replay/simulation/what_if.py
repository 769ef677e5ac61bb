"""What-if: two simulations of one history, under the recorded settings and under changed ones.

Both simulations use the same recorded actions, so each difference follows from the changed
settings or interval. A what-if writes and sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from dolt_watch.core.decisions.candidates import select_candidates
from dolt_watch.core.decisions.policy import BOTH, Policy
from dolt_watch.core.model import GLOBAL
from dolt_watch.core.projection.event_deriver import derive_events
from dolt_watch.core.projection.projection import Projection
from dolt_watch.engines import Commit
from dolt_watch.errors import DatabaseError, SettingsError
from dolt_watch.replay.past_readiness import HistoricalReadiness
from dolt_watch.replay.replayer import HistoryReplayer, SettingsVersion
from dolt_watch.replay.simulation.attempt_log import AttemptLog
from dolt_watch.replay.simulation.comparison import (
    SAME,
    Figures,
    Pair,
    compare,
    figures,
    median_run_time,
)
from dolt_watch.replay.simulation.queue_depth import QueueDepthRecorder
from dolt_watch.replay.simulation.recorded_history import RecordedHistory
from dolt_watch.replay.simulation.row_views import RowViewFactory
from dolt_watch.replay.simulation.schedule import Cadence, TickSchedule, cadence_of
from dolt_watch.replay.simulation.simulator import Simulator

ProgressCallback = Callable[[str, int, int], None]
"""Progress callback. Its arguments are the phase, the completed steps, and all steps."""


class WhatIfRequest(NamedTuple):
    """The parameters of a what-if."""

    policy: Policy
    every: timedelta
    begins: Commit
    ends: Commit
    run_time: timedelta | None = None
    """Assumed duration of runs that were not recorded. None: the median of recorded runs."""
    rule: str = ""
    """Rule whose beads to show; '' for all rules."""
    unchanged: Policy | None = None
    """Settings to compare with if history contains no decision."""


class WhatIfResult(NamedTuple):
    """The result of a what-if."""

    question: WhatIfRequest
    commits: int
    recorded: AttemptLog
    unchanged: AttemptLog
    """The simulation of the recorded settings."""
    simulated: AttemptLog
    pairs: list[Pair]
    before: Figures
    """The recorded figures."""
    base: Figures
    """The figures of the simulation of the recorded settings."""
    after: Figures
    waiting: dict[str, str]
    """Bead → reason why it waits at the end of the simulation."""
    assumed: tuple[str, ...]
    """Beads that the simulation dispatched and that have no recorded run."""
    run_time: timedelta | None
    """Assumed duration of the runs of ``assumed``."""
    ticks: int
    last_policy: Policy | None
    """Settings of the last recorded decision; None if history contains no decision or lacks its
    settings.
    """
    depths: tuple[QueueDepthRecorder, QueueDepthRecorder]
    """Queue depths as recorded, and as simulated under the changed settings."""
    cadence: Cadence
    """Interval of the recorded ticks."""


def begins(replayer: HistoryReplayer) -> Commit:
    """Return the first commit from which decisions can be replayed.

    Without a recorded decision, return the first commit that contains the beads tables.
    """
    known = replayer.first_replayable_commit()
    commit = replayer.engine.commit_of(known) if known is not None else None
    if commit is not None:
        return commit
    # History contains no decision. Find the first commit that contains the beads tables.
    line = list(replayer.engine.commits(None, replayer.until))[::-1]
    low, high = 0, len(line) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _foldable(replayer, line[middle]) else (middle + 1, high)
    return line[low]


def _foldable(replayer: HistoryReplayer, commit: Commit) -> bool:
    try:
        replayer.projection_at(commit.hash, replayer.current)
    except DatabaseError:
        return False
    return True


def run_what_if(
    replayer: HistoryReplayer,
    question: WhatIfRequest,
    report_progress: ProgressCallback = lambda phase, done, total: None,
) -> WhatIfResult:
    """Read the history, simulate it twice, and compare.

    Args:
        replayer: The history up to ``question.ends``.
        report_progress: Progress callback.

    Raises:
        SettingsError: The history can't be simulated from ``question.begins``.
        DatabaseError: The history can't be read.
    """
    cadence = cadence_of(replayer.entries)
    changed, base = replayer.current, _unchanged(replayer, question)
    study = _Study(replayer, question, report_progress)
    read = study.read(changed)
    now = then = study.simulate(changed.policy, read, question.every)
    settings = (changed.policy.rules, changed.policy.settle, question.every)
    if settings != (base.policy.rules, base.policy.settle, cadence.every):
        # Each reading evaluates the rules. Other rules require a second reading.
        again = read if base.compiled == changed.compiled else study.read(base)
        then = study.simulate(base.policy, again, cadence.every)
    waiting = _waiting(now, question.ends.date)

    def why_not(bead: str) -> str:
        if bead in waiting:
            return f"waits at the end: {waiting[bead]}"
        last = now.projection.beads.get(bead)
        return "it does not match" if last is None else f"{last.phase} at the end"

    rule, span = question.rule, question.ends.date - read.begins.date
    logs = (read.journal, then.journal, now.journal)
    recorded, unchanged, simulated = (log.of_rule(rule) for log in logs)
    return WhatIfResult(
        question=question._replace(begins=read.begins),
        commits=read.commits,
        recorded=recorded,
        unchanged=unchanged,
        simulated=simulated,
        pairs=compare(*logs, question.every, why_not, rule),
        before=figures(recorded, span),
        base=figures(unchanged, span),
        after=figures(simulated, span),
        waiting={
            bead: why
            for bead, why in waiting.items()
            if rule in ("", now.projection.beads[bead].rule)
        },
        assumed=tuple(now.runs.assumed),
        run_time=now.runs.run_time,
        ticks=now.ticks,
        last_policy=_last_policy(replayer),
        depths=(read.depths, now.depths),
        cadence=cadence,
    )


def _unchanged(replayer: HistoryReplayer, question: WhatIfRequest) -> SettingsVersion:
    """Return the settings of the last recorded decision, or those that the request names."""
    recorded = _last_policy(replayer) or question.unchanged or question.policy
    # The features of targets are not recorded. Use the current ones.
    return replayer.compiled_under(
        recorded._replace(
            job_reporting_targets=question.policy.job_reporting_targets,
            deduplicating=question.policy.deduplicating,
        )
    )


class _Study(NamedTuple):
    """The inputs of both simulations."""

    replayer: HistoryReplayer
    question: WhatIfRequest
    report_progress: ProgressCallback

    def simulate(self, policy: Policy, history: RecordedHistory, every: timedelta) -> Simulator:
        """Run one simulation over a history."""
        begins = history.begins
        simulation = Simulator(
            policy,
            history,
            HistoricalReadiness(self.replayer, begins.hash, history.script.marks),
            TickSchedule(every),
            self.question.run_time or median_run_time(history.journal),
            QueueDepthRecorder(history.initial.beads, self.question.rule),
        )
        ends = self.question.ends.date
        simulation.run(begins.date, ends, history.attempted, self.report_progress)
        return simulation

    def read(self, under: SettingsVersion) -> RecordedHistory:
        """Read the history once, from the last rebuild before ``--from``.

        The initial state of the simulation contains the changes before ``--from``.
        """
        replayer, begin, rule = self.replayer, self.question.begins, self.question.rule
        rules, compiled = under.policy.rules, under.compiled
        views = RowViewFactory(replayer.engine, rules, compiled, replayer.columns)
        # The simulation starts from a rebuild: state before it can't be derived under other rules.
        first = replayer.last_rebuild_before(begin.hash) or begin.hash
        line = replayer.line(first)
        if line is None:
            raise SettingsError(
                f"{begin.hash[:10]} is not an ancestor of {replayer.until[:10]}.",
                where="--from",
                fix="Run `dolt log` to list the ancestors.",
            )
        rebuilt = replayer.engine.commit_of(first)
        assert rebuilt is not None, "the line begins there"
        # A merge may have brought --from in. The simulation then begins before it, on the line.
        begins = next(
            (commit for commit in (rebuilt, *line) if commit.hash == begin.hash),
            [rebuilt, *(commit for commit in line if commit.date <= begin.date)][-1],
        )
        start = _state(replayer, first, under)
        recorded = replayer.projection_at(first, replayer.settings_at(first))
        history = RecordedHistory(begins, views, start, recorded, rule)
        begun = first == begins.hash
        tick: list[tuple[datetime, str]] = []
        # Up to --from, the state is applied. After it, the changes become the script of the
        # simulation.
        for number, step in enumerate(replayer.steps(first, also=views.compiled), 1):
            self.report_progress("reading history", number, len(line))
            if begun:
                history.add(step)
                continue
            start.apply(derive_events(views.only_own_answers(step.changes), views.rules))
            entries = step.changes.entries
            decided = [(step.commit.date, one.bead) for one in entries if one.bead != GLOBAL]
            tick = [*tick, *decided] if decided else []
            if step.commit.hash == begins.hash:
                begun = True
                # Beads that the tick of --from decided about aren't decided again.
                attempted = frozenset(bead for at, bead in tick if begins.date - at < SAME)
                history = RecordedHistory(
                    begins, views, start, step.projection, rule, attempted if tick else None
                )
        return history


def _last_policy(replayer: HistoryReplayer) -> Policy | None:
    under = replayer.find_settings(replayer.entries[-1].settings_hash) if replayer.entries else None
    return under.policy if under is not None else None


def _state(replayer: HistoryReplayer, commit: str, under: SettingsVersion) -> Projection:
    try:
        return replayer.projection_at(commit, under)
    except DatabaseError as error:
        raise SettingsError(
            f"Could not build the state at {commit[:10]}: {error.message}",
            where="--from",
            fix="Set --from to a later commit, whose beads tables have the columns of the rules.",
        ) from error


def _waiting(simulation: Simulator, now: datetime) -> dict[str, str]:
    state = simulation.projection.state()
    candidates = select_candidates(state, simulation.policy, now, BOTH)
    why = {bead: hold.why for bead, hold in {**simulation.plan.holds, **candidates.held}.items()}
    return {
        bead.id: why.get(bead.id, "the next tick is after the end")
        for bead in state.beads.values()
        if bead.matches
    }
