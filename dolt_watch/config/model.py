"""The settings in force: values only, each already checked."""

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
"""Kinds of decisions that a notification can be sent for."""


class Notify(NamedTuple):
    """``[notify]``: a webhook that receives a message about each decision of the listed kinds."""

    target: str = ""
    """Name of a ``[targets.NAME]`` table of kind ``webhook``. By default, nothing is sent."""
    on: str = ", ".join(NOTIFIABLE_KINDS)
    """Kinds of decisions, separated by commas. The default lists all kinds that need attention."""

    @property
    def words(self) -> frozenset[str]:
        """The listed kinds."""
        return frozenset(word.strip() for word in self.on.split(",") if word.strip())

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that notifications are sent for. Empty without a target."""
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
    """All settings of a command."""

    address: ServerAddress | FileAddress
    """The beads database."""
    project_id: str | None = None
    """Project ID in metadata.json. A database with another ID is refused. None isn't checked."""
    rules: tuple[Rule, ...] = (Rule(name="agent"),)
    """Rules in the order of the file."""
    targets: Mapping[str, TargetSettings] = field(default_factory=dict)
    """Name → target, for each target that a rule names and each that is defined."""
    notify: Notify = field(default_factory=Notify)
    links: Links = field(default_factory=Links)
    settle: timedelta = timedelta(seconds=2)
    """How long a bead must be unchanged before it is dispatched. bd often splits one change into
    several commits, which usually take less than the default.
    """
    poll: timedelta = timedelta(seconds=2)
    """Longest pause between two polls of ``dolt_watch run``, at least 50ms. A poll is one query, so
    the default is short.
    """
    adopt: bool = True
    """Whether to commit changes that other programs left uncommitted in watched tables. By default,
    they are committed, because decisions are made only on committed data.
    """
    actor_dispatch: str = "beads-dispatcher"
    """Actor of dispatch decisions in bd's events."""
    actor_reap: str = "beads-reaper"
    """Actor of reap decisions in bd's events."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Dotted key → source of its value: 'default', 'dolt_watch.toml:12', 'DOLT_WATCH_SETTLE',
    '--database' and so on.
    """
