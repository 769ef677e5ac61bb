"""Keys of ``kind = "local"``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from dolt_watch.targets.settings import TargetSettings


@dataclass(frozen=True, slots=True)
class LocalSettings(TargetSettings):
    """An agent as a process on this machine, supervised until it ends."""

    reports_jobs: ClassVar[bool] = True
    deduplicates: ClassVar[bool] = True

    @property
    def stops_runs(self) -> bool:
        return self.stop_on_reap

    def located(
        self, tracker: str, beads_dir: Path | None, env: Mapping[str, str]
    ) -> LocalSettings:
        return replace(
            self,
            root=self.root or default_root(tracker, env),
            beads_dir=self.beads_dir or beads_dir,
        )

    kind: str = "local"
    argv: tuple[str, ...] = ()
    """The agent's program and its arguments. No shell reads them. The prompt is its standard input,
    or replaces ``{prompt}`` in an argument. Required.
    """
    slots: int = 1
    """Number of agents of this target that may run at once on this machine, at least 1. Default 1:
    one bead after the other.
    """
    repo: Path | None = None
    """A git repository. Each attempt gets a worktree of its own, on the branch
    ``dolt-watch/BEAD/ATTEMPT``. Relative to the settings file. Default: no worktree.
    """
    base: str = "HEAD"
    """The branch, tag or commit from which a worktree starts, resolved at each attempt. Default:
    the commit that is checked out in ``repo``.
    """
    directory: Path | None = None
    """The agent's working directory if ``repo`` isn't set. Default: the folder that contains the
    tracker's ``.beads``."""
    run_timeout: timedelta = timedelta(minutes=30)
    """Time limit of a run. After it, the agent and all its descendants get SIGTERM. Default 30m,
    the default of ``stale_after``.
    """
    stop_grace: timedelta = timedelta(seconds=10)
    """Time between SIGTERM and SIGKILL. Default 10s, as in Docker."""
    prompt_template: Path | None = None
    """Jinja2 template of the prompt, instead of the built-in prompt. Relative to the settings
    file.
    """
    env: tuple[str, ...] = ()
    """Further environment variables: ``NAME`` passes one on, ``NAME=VALUE`` sets one. Default:
    none, so that the agent gets no credential by accident.
    """
    beads_dir: Path | None = None
    """The tracker's ``.beads``, which the agent gets as BEADS_DIR. Default: the folder in which the
    connection was found.
    """
    rest_on: tuple[str, ...] = ("claude", "codex", "gemini")
    """Patterns that mean a usage limit in the last output of a failed run: the name of a preset
    (``claude``, ``codex``, ``gemini``), ``exit N``, or a regular expression. Default: all presets.
    """
    output_is_life: bool = False
    """Whether new output counts as a sign of life. Default false: a stuck agent may still print."""
    stop_on_reap: bool = True
    """Whether a run is stopped when the reaper blocks its bead. Default true, so that a blocked
    bead has no live agent.
    """
    keep_worktrees: timedelta = timedelta(days=7)
    """How long the logs of ended runs and merged worktrees are kept. Default 7d. A worktree with
    uncommitted or unmerged work is never removed.
    """
    log_size: int = 10_000_000
    """Maximum size in bytes of the stored output of one run. The oldest output is dropped. Default:
    10 MB.
    """
    root: Path | None = None
    """Folder of the runs. Not a key: derived from XDG_STATE_HOME and the tracker's ID."""


def default_root(tracker: str, environ: Mapping[str, str]) -> Path:
    """Return the folder of a tracker's runs, in the user's state directory."""
    state = environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path(environ.get("HOME", "/")) / ".local/state"
    return base / "dolt_watch" / re.sub(r"[^A-Za-z0-9._-]", "-", tracker).lstrip(".")
