"""The target ``local``: runs agents as processes of this machine.

The attempt's token names its run, so a run starts at most once. ``settle`` reports whether it
started, and prevents a later start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import Any

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Answer, Refused
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.local import environment, health, launching, run_files, sweeping
from dolt_watch.targets.local.checks import check_settings, usage_limits_of
from dolt_watch.targets.local.git import GitFailed
from dolt_watch.targets.local.health import program_missing
from dolt_watch.targets.local.log_reader import read_output
from dolt_watch.targets.local.output_log import LOG
from dolt_watch.targets.local.runs import Run, StoreUnavailable
from dolt_watch.targets.local.settings import LocalSettings, default_root
from dolt_watch.targets.local.starting import RunStarter, remove_unused
from dolt_watch.targets.local.store import RunStore
from dolt_watch.targets.local.verdicts import report_end
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.start_failures import with_failures
from dolt_watch.targets.templates import Template, TemplateRenderError, read_prompt
from dolt_watch.targets.validation import checked_timeout

PROMPT = "{prompt}"
MAX_ARGUMENT = 128 * 1024
"""Bytes of one argument of a program on Linux, its end included (MAX_ARG_STRLEN, execve(2))."""


class Local:
    """A target that runs one kind of agent on this machine."""

    deduplicates = True

    def __init__(
        self,
        settings: LocalSettings,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Check the settings. Nothing is started. ``now`` returns seconds since the epoch.

        Raises:
            SettingsError: The settings can't work.
        """
        self.name, self.timeout = settings.name, checked_timeout(settings)
        check_settings(settings)
        self.settings, self._environ, self._now = settings, environ, now
        self.limits = usage_limits_of(settings)
        self.root = settings.root or default_root(settings.name, environ)
        self.store = RunStore(self.root, self.timeout)
        self.runner = launching.RUNNER
        if settings.prompt_template is not None:
            _ = self._prompt  # An invalid template must be an error before any claim.

    @property
    def zone(self) -> tzinfo:
        """The zone of a reset time without a zone: the agent's."""
        return environment.zone_of(self.settings.env, self._environ)

    @cached_property
    def _prompt(self) -> Template:
        template, place = self.settings.prompt_template, self.settings.origin("prompt_template")
        return read_prompt(template, place, "dolt_watch.targets.local")

    # -- capacity --------------------

    def capacity(self) -> Capacity:
        """Return the free slots. Down: the agent, its repository or the state directory is
        missing.
        """
        try:
            path = self._environment("", "", "").get("PATH", os.defpath)
            why = program_missing(self.settings, path) or health.repository_missing(self.settings)
            if why:
                return Capacity(0, sanitize(why), down=True)
            live = len(self.store.live_tokens(self.name))
            self._tidy()  # Before the next check: it may make room on a full disk.
            self.store.check_writable()
            failing = health.failing(self.store, self.name, self.limits, self.zone)
        except StoreUnavailable as error:
            why = f"the state directory (XDG_STATE_HOME) can't be used: {error}"
            return Capacity(0, sanitize(why), down=True)
        slots = self.settings.slots
        why = f"{live} of {slots} slots are taken"
        found = Capacity(max(slots - live, 0), why, proof="target")
        return with_failures(found, live, failing, self._now())

    def _tidy(self) -> None:
        """Remove unused worktrees of runs that just ended, and old ones from time to time."""
        for run in self.store.take_ended():
            self._remove_worktree_if_unused(run)
        keep = self.settings.keep_worktrees.total_seconds()
        sweeping.sweep_if_due(self.store, self._now(), keep)

    def _environment(self, bead: str, actor: str, token: str) -> dict[str, str]:
        """Return the agent's environment, by an allow-list: without dolt_watch's secrets."""
        env, beads_dir = self.settings.env, self.settings.beads_dir
        return environment.build(
            env, self._environ, bead=bead, actor=actor, token=token, beads_dir=beads_dir
        )

    # -- dispatch --------------------

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        """Start the run of this token. A token that was used before is not started again."""
        began = time.monotonic()
        settings = self.settings
        try:
            prompt = self._prompt.render(task, token) + "\n"
        except TemplateRenderError as error:
            return Refused(sanitize(str(error)))
        environ = self._environment(task.bead, str(task.row.get("assignee") or ""), token)
        # The record is written before the agent starts, so that a crash leaves a readable run.
        record: dict[str, Any] = {
            "bead": task.bead,
            "rule": task.rule,
            "attempt": task.attempt,
            "argv": [argument.replace(PROMPT, prompt) for argument in settings.argv],
            "stdin": not any(PROMPT in argument for argument in settings.argv),
            "env": sorted(environ),
            "run_timeout": settings.run_timeout.total_seconds(),
            "grace": settings.stop_grace.total_seconds(),
            "log_bytes": settings.log_size,
            "made_at": self._now(),
        }
        if any("\0" in argument for argument in record["argv"]) or "\0" in task.bead:
            return Refused("the bead contains a NUL character, which an argument can't contain")
        size = max(len(each.encode("utf-8", "surrogatepass")) for each in record["argv"])
        if size >= MAX_ARGUMENT:
            why = f"the prompt has {size} bytes, but an argument has at most {MAX_ARGUMENT - 1}"
            return Refused(f"{why}; without {PROMPT} it is standard input", permanent=True)
        try:
            starter = RunStarter(settings, self.store, self.timeout, self.runner)
            return starter.start(task, token, environ, record, prompt, began)
        except GitFailed as error:
            # Of several beads in a row, none is at fault.
            away = "target" if self._is_failing() else ""
            return Refused(sanitize(f"worktree: {error}"), unreachable=away)

    # -- what became of a run --------------------

    @property
    def site(self) -> str:
        """The ID of this host and its state directory. '' if it cannot be read."""
        try:
            return self.store.site()
        except StoreUnavailable:
            return ""

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        """Return the state of a run.

        Without a folder here it is unknown, since another host may have it.
        """
        try:
            self.store.folder(job)
        except ValueError:
            return JobReport(Verdict.UNKNOWN, error="not a run of this target")
        return self._asked(lambda: self.store.read(job))

    def settle(self, token: str) -> JobReport:
        """Return whether an attempt that this site claimed runs. If it doesn't, it never will."""
        return self._asked(lambda: self.store.settle(token))

    def live_tokens(self) -> list[str]:
        """Return the tokens of this target's live runs on this machine."""
        try:
            found = self.store.live_tokens(self.name)
        except StoreUnavailable:
            return []
        self._tidy()
        return found

    def logs(self, job: str, follow: bool = False) -> Iterator[bytes]:
        """Yield a run's output, the oldest first. ``follow``: until the run ends.

        Raises:
            LookupError: The run has no record on this machine.
        """
        try:
            folder = self.store.folder(job)
        except ValueError:
            raise LookupError(job) from None
        if not (folder / run_files.RUN).exists():
            raise LookupError(job)
        if not follow:
            return read_output(folder)
        return read_output(folder, lambda: self._lives(job), lambda: time.sleep(0.2))

    def _lives(self, token: str) -> bool:
        run = self.store.read(token)
        return run is not None and run.lives

    def stop(self, job: str, by: str, reason: str) -> JobReport:
        """End a run and all its processes, and return its report."""
        return self._asked(lambda: self.store.stop(job, by, reason))

    def _asked(self, find: Callable[[], Run | None]) -> JobReport:
        try:
            run = find()
        except (ValueError, StoreUnavailable) as error:
            return JobReport(Verdict.UNKNOWN, error=sanitize(str(error)))
        if run is None:
            return JobReport(Verdict.UNKNOWN, error="no record of this run on this machine")
        return self._report(run)

    def _report(self, run: Run) -> JobReport:
        if run.state == "unclear":
            return JobReport(Verdict.UNKNOWN, error=sanitize(run.why))
        if run.state == "running":
            active = self._last_output(run.token) if self.settings.output_is_life else None
            return JobReport(Verdict.RUNNING, "running", active_at=active)
        self._remove_worktree_if_unused(run)
        report = report_end(run, self.limits, self.zone)
        if report.failed_at_start:
            return report._replace(target_failed=self._is_failing())
        return report

    def _is_failing(self) -> bool:
        """Return whether the last runs failed at their start, on different beads."""
        try:
            return health.failing(self.store, self.name, self.limits, self.zone) is not None
        except StoreUnavailable:
            return False

    def _last_output(self, token: str) -> datetime | None:
        with suppress(OSError):
            log = (self.store.folder(token) / LOG).stat()
            return datetime.fromtimestamp(log.st_mtime, UTC) if log.st_size else None
        return None

    def _remove_worktree_if_unused(self, run: Run) -> None:
        if run.state in ("abandoned", "refused"):
            remove_unused(self.store, run)
        else:
            sweeping.remove_if_unused(self.store, run)

    def leftovers(self) -> Iterator[tuple[str, str]]:
        """Yield the worktrees that are kept beyond ``keep_worktrees``, each with the command that
        removes it.
        """
        keep = self.settings.keep_worktrees.total_seconds()
        # capacity() reports that the state directory can't be used.
        with suppress(StoreUnavailable):
            yield from sweeping.leftovers(self.store, self._now(), keep)

    def close(self) -> None:
        """Do nothing: nothing is open between two calls, and the runs continue."""
