"""Removal of unused worktrees and old logs of ended runs."""

from __future__ import annotations

import random
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dolt_watch.targets.local import run_files, worktrees
from dolt_watch.targets.local.git import GitFailed, git
from dolt_watch.targets.local.runs import Run, StoreUnavailable
from dolt_watch.targets.local.store import RunStore

INTERVAL_SECONDS = 3600.0
SWEEP_SECONDS = 10.0
"""Longest time in seconds that one sweep may delay a tick. A later sweep continues, in another
order.
"""
STALE_TEMPORARY_SECONDS = 3600.0
"""Age in seconds after which an unfinished folder of a dispatcher is deleted."""


class Worktree(NamedTuple):
    """A run's worktree."""

    folder: Path
    repo: Path
    branch: str
    commit: str
    """The commit that it was made from."""


def sweep_if_due(store: RunStore, now: float, keep: float) -> None:
    """Sweep at most once an hour. ``now``: seconds since the epoch; ``keep``: seconds."""
    stamp = store.root / "swept"
    with suppress(OSError):
        if 0 <= now - stamp.stat().st_mtime < INTERVAL_SECONDS:
            return
    with suppress(OSError, StoreUnavailable):
        stamp.touch()
        sweep(store, now, keep)


def sweep(store: RunStore, now: float, keep: float) -> list[str]:
    """Remove everything that is no longer needed. Returns the tokens whose folders were deleted."""
    removed: list[str] = []
    until = time.monotonic() + SWEEP_SECONDS
    tokens = store.tokens()
    random.shuffle(tokens)
    for token in tokens:
        if time.monotonic() > until:
            return removed
        run = store.read(token)
        if run is None or run.lives:
            continue
        old = now - _ended_at(store, run) > keep
        if remove_if_unused(store, run, merged=old) and old:
            store.forget(token)
            removed.append(token)
    for folder in store.runs.glob(".new-*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > STALE_TEMPORARY_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
    return removed


def remove_if_unused(store: RunStore, run: Run, *, merged: bool = False) -> bool:
    """Remove a worktree without changes and commits of its own. Returns whether none is left.

    ``merged``: its own commits may be those of another branch.
    """
    made = _worktree(store, run)
    if made is None:
        return True
    folder, repo, branch, commit = made
    if not merged:
        try:
            if folder.exists() and git(folder, "rev-parse", "HEAD") != commit:
                return False
            tip = git(repo, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        except GitFailed:
            return False
        if tip not in ("", commit):
            return False
    return not worktrees.remove(repo, folder, branch)


def _worktree(store: RunStore, run: Run) -> Worktree | None:
    """Return a run's worktree. Returns None if it has none."""
    made = run.record.get("git")
    if not isinstance(made, dict):
        return None
    folder, repo = store.folder(run.token) / run_files.WORKTREE, Path(str(made.get("repo")))
    if not folder.exists() and not repo.exists():
        return None
    return Worktree(folder, repo, str(made.get("branch")), str(made.get("commit")))


def _ended_at(store: RunStore, run: Run) -> float:
    ended = run.end.get("ended_at")
    if isinstance(ended, int | float):
        return float(ended)
    try:
        return store.folder(run.token).stat().st_mtime
    except OSError:
        return time.time()


def leftovers(store: RunStore, now: float, keep: float) -> Iterator[tuple[str, str]]:
    """Yield the worktrees that are kept beyond their time, each with the command that removes it.

    ``now``: seconds since the epoch. ``keep``: seconds. Raises StoreUnavailable.
    """
    for token in store.tokens():
        run = store.read(token)
        if run is None or run.lives or now - _ended_at(store, run) <= keep:
            continue
        made = _worktree(store, run)
        if made is None or not made.folder.exists():
            continue
        folder, repo, branch, _ = made
        if why := worktrees.kept_because(repo, folder, branch):
            bead = run.record.get("bead", "")
            in_repo = f"git -C {shlex.quote(str(repo))}"
            fix = (
                f"Merge the work that you need, then run `{in_repo} worktree remove --force"
                f" {shlex.quote(str(folder))} && {in_repo} branch -D {shlex.quote(branch)}`."
            )
            yield f"worktree {folder} of {bead} (branch {branch}) is kept: {why}", fix
