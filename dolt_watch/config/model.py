"""The effective settings: values only, each already checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

from dolt_watch.core.model.rule import Rule
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.targets.settings import TargetSettings

NOTIFIABLE_KINDS = (
    "failed",
    "quarantined",
    "unknown",
    "overdue",
    "give-up",
    "reap",
    "requeue",
    "stopped",
    "outage",
    "recovered",
)
"""Kinds of decision that somebody may want to hear of."""


class Notify(NamedTuple):
    """``[notify]``: who hears of decisions that went wrong."""

    target: str = ""
    """Name of a ``[targets.NAME]`` of kind webhook; '': nobody."""
    on: str = ", ".join(NOTIFIABLE_KINDS)
    """Kinds of decision, with commas between."""

    @property
    def words(self) -> frozenset[str]:
        return frozenset(word.strip() for word in self.on.split(",") if word.strip())

    @property
    def kinds(self) -> frozenset[str]:
        return self.words if self.target else frozenset()


class Links(NamedTuple):
    """``[links]``: addresses to which the report links. An empty template makes no link."""

    bead: str = ""
    """URL template of a bead: ``{id}`` is replaced with the bead's ID."""
    job: str = ""
    """URL template of a job: ``{job}`` is replaced with the job's ID."""
    commit: str = ""
    """URL template of a commit: ``{commit}`` is replaced with the commit's hash."""


PLACEHOLDERS = {"bead": "{id}", "job": "{job}", "commit": "{commit}"}
"""Key of ``[links]`` to the placeholder that its template must contain."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a command goes by."""

    address: ServerAddress | FileAddress
    """The beads database."""
    project_id: str | None = None
    """Of metadata.json: a database with another id is refused. None: not known, not checked."""
    rules: tuple[Rule, ...] = (Rule(name="agent"),)
    """In the order of the file."""
    targets: Mapping[str, TargetSettings] = field(default_factory=dict)
    """By name: each that a rule names, and each that is defined."""
    notify: Notify = field(default_factory=Notify)
    links: Links = field(default_factory=Links)
    settle: timedelta = timedelta(seconds=2)
    """A change younger than this is left alone: bd writes one thought in several commits."""
    poll: timedelta = timedelta(seconds=2)
    """Longest pause of ``dolt_watch run`` between two looks; at least 50ms."""
    adopt: bool = True
    """Commit what others left uncommitted in watched tables, so that nothing is decided on what
    history does not hold.
    """
    actor_dispatch: str = "beads-dispatcher"
    """Actor of dispatch decisions in beads' events."""
    actor_reap: str = "beads-reaper"
    """Actor of reap decisions in beads' events."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Dotted key → where its value came from:

    'default', 'dolt_watch.toml:12', 'DOLT_WATCH_SETTLE', '--database' …
    """
