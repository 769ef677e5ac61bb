"""The settings of all kinds of target, and of the default kind, BeadBoard.

Each kind has one class, whose fields are its keys. The other kinds have their own modules, because
an idle tick imports only the classes of the targets in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from dolt_watch.errors import SettingsError


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """The target of a rule: one ``[targets.NAME]`` table.

    These keys exist for every kind. The class of each kind adds its own keys.
    """

    name: str
    """The NAME in ``[targets.NAME]``. Rules refer to it."""
    kind: str = "beadboard"
    """The kind of target, for example 'local', 'webhook' or 'kubernetes'."""
    timeout: timedelta = timedelta(seconds=30)
    """Longest wait for one answer, more than 0 and at most an hour. Default 30s: the deadline of a
    claim is that much later.
    """
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Key → the place where it is set, for error messages. Not a key itself."""

    reports_jobs: ClassVar[bool] = False
    """Whether ``verdict`` reports how a job ended.

    Such a target is asked while the job runs, at most once a minute.
    """

    deduplicates: ClassVar[bool] = False
    """Whether the target starts each token at most once, and reports whether it runs
    (``settle``).
    """

    @property
    def stops_runs(self) -> bool:
        """Return whether a run is stopped when its attempt ends."""
        return False

    announces: ClassVar[bool] = False
    """Whether the first act of the target's agents is a note on the bead.

    Their silence then means that nothing runs, so the default of a rule's ``on_unknown`` is
    'retry'.
    """

    def located(
        self, tracker: str, beads_dir: Path | None, env: Mapping[str, str]
    ) -> TargetSettings:
        """Return the settings for one tracker.

        Args:
            tracker: The tracker's ID as a file name.
            beads_dir: The tracker's ``.beads``, if it was found.
            env: The environment.
        """
        return self

    def origin(self, key: str) -> str:
        return self.origins.get(key, f"[targets.{self.name}] {key}")


def invalid(settings: TargetSettings, key: str, problem: str, fix: str) -> SettingsError:
    """Return the error for a value that can't work. ``problem`` is a clause with its subject."""
    return SettingsError(f"Target {settings.name}: {problem}.", where=settings.origin(key), fix=fix)


def missing(settings: TargetSettings, key: str, thing: str, fix: str) -> SettingsError:
    """Return the error for a value that is required."""
    return SettingsError(
        f"Target {settings.name} has no {thing}.", where=settings.origin(key), fix=fix
    )


def secret_field(variable: str = "") -> Any:
    """Return the field of a key that no settings file and no command line may contain.

    Its value comes from ``DOLT_WATCH_TARGETS_NAME_KEY``, from the file that the key ``KEY_file``
    names, or from ``variable``. It is hidden in output, and no repr contains it.
    """
    return field(default="", repr=False, metadata={"secret": True, "variable": variable})


def env_field(variable: str) -> Any:
    """Return the field of a text whose default is an environment variable.

    No repr contains it, because a URL may contain a password.
    """
    return field(default="", repr=False, metadata={"variable": variable})


@dataclass(frozen=True, slots=True)
class BeadBoardSettings(TargetSettings):
    """BeadBoard, which requests a run from claude-agent-service."""

    announces: ClassVar[bool] = True

    url: str = env_field("BEADBOARD_URL")
    """URL of BeadBoard: http://HOST:PORT. Required. Default: BEADBOARD_URL."""
    service_url: str = env_field("CLAUDE_AGENT_SERVICE_URL")
    """URL of the claude-agent-service behind BeadBoard, asked for its capacity and its health.
    Default: CLAUDE_AGENT_SERVICE_URL, which BeadBoard uses itself. '': never asked, so an outage
    can cost a bead.
    """
