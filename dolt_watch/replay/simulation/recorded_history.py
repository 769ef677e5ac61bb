"""The recorded history from the begin of a simulation on, as it is read commit by commit."""

from __future__ import annotations

from dolt_watch.core.model import GLOBAL, EventKind
from dolt_watch.core.projection.projection import Projection
from dolt_watch.engines import Commit
from dolt_watch.replay.replayer import ReplayStep
from dolt_watch.replay.simulation.attempt_log import AttemptLog
from dolt_watch.replay.simulation.queue_depth import QueueDepthRecorder
from dolt_watch.replay.simulation.recorded_timeline import RecordedTimeline, in_flight
from dolt_watch.replay.simulation.row_views import RowViewFactory


class RecordedHistory:
    """The script of a simulation, and the decisions and queue depths that it is compared with."""

    def __init__(
        self,
        begins: Commit,
        views: RowViewFactory,
        start: Projection,
        recorded: Projection,
        rule: str,
        attempted: frozenset[str] | None = None,
    ) -> None:
        """Begin at a commit.

        Args:
            begins: First commit, on the line of commits that dolt_watch followed.
            views: Rows with the answers of the rules.
            start: The state at ``begins`` under the simulated rules.
            recorded: The state at ``begins`` as it was recorded.
            rule: Rule whose depths are counted; '' for all rules.
            attempted: Beads attempted before ``begins`` by the tick that contains it. None: the
                history begins between two ticks.
        """
        self.begins, self.views, self.initial = begins, views, start
        self.script = RecordedTimeline(in_flight(start.beads))
        self.script.know(start.beads)
        self.journal = AttemptLog(in_flight(recorded.beads))
        self.depths = QueueDepthRecorder(recorded.beads, rule)
        self.commits, self.attempted = 0, attempted
        self._beads = dict(recorded.beads)

    def add(self, step: ReplayStep) -> None:
        """Add one commit: its decisions, the runs that it ended, and the depths after it."""
        self.commits += 1
        self.script.add(step, self.views)
        statuses = {
            row.bead: str(row.after.get("status", ""))
            for row in step.changes.rows
            if row.table == "issues"
        }
        for event in step.events:
            if event.what is EventKind.RENAMED:
                self.journal.renamed(event.other, event.bead)
            if event.bead == GLOBAL:
                continue
            before, after = self._beads.pop(event.bead, None), step.projection.beads.get(event.bead)
            self.journal.apply(event, before, after, statuses.get(event.bead, ""))
            if after is not None:
                self._beads[event.bead] = after
            at = event.entry.at if event.entry is not None else event.at
            self.depths.record(at, event.bead, after)
        if any(event.bead == GLOBAL for event in step.events):
            self.depths.reset(step.commit.date, step.projection.beads)
