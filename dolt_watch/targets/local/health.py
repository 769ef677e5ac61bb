"""The health of the target: the program, the repository, and the end of the last runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import tzinfo
from itertools import islice
from pathlib import Path

from dolt_watch.targets.local import run_files, worktrees
from dolt_watch.targets.local.git import GitFailed
from dolt_watch.targets.local.runs import Run, state_of
from dolt_watch.targets.local.settings import LocalSettings
from dolt_watch.targets.local.store import RunStore
from dolt_watch.targets.local.usage_limits import UsageLimits
from dolt_watch.targets.local.verdicts import number, report_end
from dolt_watch.targets.start_failures import LOOK_BACK, EndedRun, Failing, find_failing


def program_missing(settings: LocalSettings, path: str) -> str:
    """Return why the agent's program cannot be started. Returns '' if it can.

    A relative path with a slash names a file of the working directory.
    """
    program = settings.argv[0]
    if "/" not in program:
        found = shutil.which(program, path=path)
        return "" if found else f"{program}: no such program on PATH, or not executable"
    folder = settings.repo or working_directory(settings)
    found = shutil.which(str(folder / program)) if folder is not None else program
    return "" if found else f"{program}: no such program, or not executable"


def working_directory(settings: LocalSettings) -> Path | None:
    """Return the agent's working directory without a repository. None if no setting names one."""
    beads = settings.beads_dir
    return settings.directory or (beads.parent if beads is not None else None)


def repository_missing(settings: LocalSettings) -> str:
    """Return why no worktree can be made. Returns '' if one can, or if none is needed."""
    if settings.repo is None:
        place = working_directory(settings)
        return f"{place} isn't a directory" if place is not None and not place.is_dir() else ""
    try:
        worktrees.resolve(worktrees.top_level(settings.repo), settings.base)
    except GitFailed as error:
        return f"repo {settings.repo}: {error}"
    return ""


def failing(store: RunStore, target: str, limits: UsageLimits, local: tzinfo) -> Failing | None:
    """Return whether the last runs of a target all failed within seconds, on different beads.

    Runs that a user stopped, that met a usage limit or that were lost are ignored.
    """
    return find_failing(_ended_runs(store, target, limits, local))


def _ended_runs(
    store: RunStore, target: str, limits: UsageLimits, local: tzinfo
) -> Iterator[EndedRun]:
    for run in islice(_latest(store, target), LOOK_BACK):
        report, at = report_end(run, limits, local), number(run.end.get("ended_at"))
        bead = str(run.record.get("bead", ""))
        if run.state == "refused":
            yield EndedRun(bead, True, at, report.error, run.end.get("at_fault") is True)
        elif report.status_text not in ("stopped", "usage limit", "lost"):
            yield EndedRun(bead, report.failed_at_start, at, report.error)


def _latest(store: RunStore, target: str) -> Iterator[Run]:
    """Yield the runs of a target that ended, the latest first."""
    ended = []
    for token in store.tokens():
        with suppress(OSError):
            ended.append(((store.runs / token / run_files.END).stat().st_mtime, token))
    for _, token in sorted(ended, reverse=True):
        record = run_files.read(store.runs / token / run_files.RUN) or {}
        end = run_files.read(store.runs / token / run_files.END)
        if record.get("target") == target and end is not None:
            yield Run(token, state_of(end), record, end)
