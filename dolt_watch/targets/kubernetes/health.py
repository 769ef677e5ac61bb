"""The health of the agent: whether the last Jobs failed within seconds of their start."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dolt_watch.targets.http_client import HttpResult
from dolt_watch.targets.kubernetes import answers
from dolt_watch.targets.kubernetes.answers import JobRow, PodState
from dolt_watch.targets.start_failures import (
    LOOK_BACK,
    QUICK_FAILURES,
    EndedRun,
    Failing,
    find_failing,
)


class StartHealth:
    """Reads the end of the last Jobs. It remembers the pods of ended Jobs, which don't change."""

    def __init__(self) -> None:
        self._ended: dict[str, EndedRun] = {}

    def failing(
        self,
        unsuccessful: HttpResult,
        list_successful: Callable[[], HttpResult],
        pods_of: Callable[[str], PodState | str],
    ) -> Failing | None:
        """Return whether the last Jobs failed at their start, on different beads.

        A Job that was created later and succeeded shows that the agent works. If the API server
        doesn't answer, the agent counts as working.

        Args:
            unsuccessful: The list of Jobs that have not succeeded, as a Table.
            list_successful: Returns the Table of the Jobs that have. It is called only if enough
                Jobs failed at their start.
            pods_of: Returns the state of a Job's pods, or why it is not known.
        """
        rows = answers.rows_in(unsuccessful) or ()
        failed = [row for row in rows if row.status == "Failed"]
        failed = sorted(failed, key=lambda row: row.seconds)[:LOOK_BACK]
        self._ended = {row.name: self._ended[row.name] for row in failed if row.name in self._ended}
        if len(failed) < QUICK_FAILURES or find_failing(self._runs(failed, pods_of)) is None:
            return None
        succeeded = answers.rows_in(list_successful())
        if succeeded is None:
            return None
        works_since = min((row.seconds[0] for row in succeeded), default=float("inf"))
        later = [row for row in failed if row.seconds[1] <= works_since]
        return find_failing(self._runs(later, pods_of))

    def _runs(
        self, failed: list[JobRow], pods_of: Callable[[str], PodState | str]
    ) -> Iterator[EndedRun]:
        for row in failed:
            if row.name not in self._ended:
                pods = pods_of(row.name)
                if isinstance(pods, str):
                    return
                self._ended[row.name] = EndedRun(
                    pods.bead, pods.failed_at_start, pods.ended_at, pods.ended
                )
            yield self._ended[row.name]
