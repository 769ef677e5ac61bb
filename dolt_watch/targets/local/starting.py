"""Start of a run, and settlement of a start that was not reported."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.local import launching, run_files, worktrees
from dolt_watch.targets.local.git import GitFailed
from dolt_watch.targets.local.health import working_directory
from dolt_watch.targets.local.runs import AlreadyMade, NoSlot, Run, StoreUnavailable
from dolt_watch.targets.local.settings import LocalSettings
from dolt_watch.targets.local.store import RunStore
from dolt_watch.targets.protocol import BeadTask


@dataclass(frozen=True, slots=True)
class RunStarter:
    """Starts runs of one target. ``timeout``: seconds for one start with its worktree."""

    settings: LocalSettings
    store: RunStore
    timeout: float
    runner: Path = launching.RUNNER

    def start(
        self,
        task: BeadTask,
        token: str,
        environ: Mapping[str, str],
        record: dict[str, Any],
        prompt: str,
        began: float,
    ) -> Answer:
        """Start a run.

        Args:
            task: The bead.
            token: The attempt's token.
            environ: The agent's environment.
            record: The content of ``run.json``.
            prompt: The agent's standard input.
            began: Start of the dispatch, a value of time.monotonic().

        Raises:
            GitFailed: The worktree can't be made.
        """
        settings, folder = self.settings, self.store.folder(token)
        place = working_directory(settings) or Path(environ.get("HOME", "/"))
        if settings.repo is not None:
            repo = worktrees.top_level(settings.repo)
            commit = worktrees.resolve(repo, settings.base)
            branch = worktrees.branch_name(task.bead, task.attempt, token, repo)
            place = folder / run_files.WORKTREE
            record["git"] = {"repo": str(repo), "branch": branch, "commit": commit}
        record["cwd"] = str(place)
        try:
            lock = self.store.make(token, settings.name, settings.slots, record, prompt)
        except NoSlot as error:
            return Busy(str(error))
        except AlreadyMade:
            return self._started_before(token)
        except StoreUnavailable as error:
            return Refused(sanitize(str(error)), unreachable="target")
        until = began + self.timeout
        try:
            if settings.repo is not None:
                try:
                    worktrees.add(repo, place, branch, commit, _left(until))
                except GitFailed as error:
                    self.store.refuse(token, f"worktree: {error}")
                    raise
            report = launching.launch(folder, lock, environ, _left(until), self.runner)
        finally:
            os.close(lock)
        if report.outcome == "started":
            return Accepted(token, None)
        if report.outcome == "refused":  # The runner's own report: it started no agent, and ends.
            remove_unused(self.store, Run(token, "refused", record))
            end = run_files.read(folder / run_files.END) or {}
            away = "target" if end.get("at_fault") else ""
            return Refused(sanitize(report.why), unreachable=away)
        return self._not_reported(token, report.why)

    def _not_reported(self, token: str, why: str) -> Answer:
        """Return the answer for a runner that did not report a start."""
        try:
            run = self.store.settle(token)
        except StoreUnavailable as error:
            return Unknown(sanitize(f"{why}; {error}"))
        if run.state in ("running", "unclear"):
            return Unknown(sanitize(run.why or why))
        if run.state in ("abandoned", "refused"):
            remove_unused(self.store, run)
            refused = run.end.get("refused") or "the runner ended before it started the agent"
            return Refused(sanitize(str(refused)))
        return Accepted(token, None)

    def _started_before(self, token: str) -> Answer:
        try:
            run = self.store.settle(token)
        except StoreUnavailable as error:
            return Unknown(sanitize(str(error)))
        if run.state in ("abandoned", "refused"):
            return Refused("this attempt was abandoned before it started")
        return Accepted(token, None)


def _left(until: float) -> float:
    """Return the seconds until a value of time.monotonic(), at least 1."""
    return max(until - time.monotonic(), 1.0)


def remove_unused(store: RunStore, run: Run) -> None:
    """Remove the worktree of a run whose agent was never started."""
    made = run.record.get("git")
    if isinstance(made, dict):
        folder = store.folder(run.token) / run_files.WORKTREE
        worktrees.discard(Path(made["repo"]), folder, made["branch"], made["commit"])
