"""The effective settings: values only, each already checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from dolt_watch.engines.address import Address, DoltLitePath
from dolt_watch.rule import Rule


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """Who runs the beads: one ``[targets.NAME]`` table. What every kind has; each kind's own class adds its keys (``settings/kinds/``)."""

    name: str
    """The NAME in ``[targets.NAME]``; rules refer to it."""
    kind: str = "beadboard"
    """How to talk to it."""
    timeout: timedelta = timedelta(seconds=30)
    """Longest wait for one answer; more than 0, at most an hour."""
    places: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Key → where somebody set it, for errors. No key itself."""

    tells_of_jobs: ClassVar[bool] = False
    """Does it say what became of a job, by ``verdict``? Then it is asked while the job runs, once a minute at most."""

    deduplicates: ClassVar[bool] = False
    """Does it start each token at most once, and tell whether it runs (``settle``)?"""

    @property
    def stops_runs(self) -> bool:
        """Return whether a run is stopped when its attempt ends."""
        return False

    announces: ClassVar[bool] = False
    """Is the first act of its agents a note on the bead? Then silence means that nothing runs: the default of a rule's ``on_unknown`` is 'retry'."""

    def located(self, tracker: str, beads_dir: Path | None, env: Mapping[str, str]) -> TargetSettings:
        """Return the settings for one tracker. ``tracker``: its ID as a file name.

        ``beads_dir``: the tracker's ``.beads``, if one was found; ``env``: the environment.
        """
        return self

    def place(self, key: str) -> str:
        return self.places.get(key, f"[targets.{self.name}] {key}")


def confidential(variable: str = "") -> Any:
    """A key that no file of settings and no command line may hold. It comes from ``DOLT_WATCH_TARGETS_NAME_KEY``, the file that the key ``KEY_file``
    names, or ``variable``; it is shown hidden, and is in no repr."""
    return field(default="", repr=False, metadata={"secret": True, "variable": variable})


def filled_by(variable: str) -> Any:
    """A text that an environment variable fills in where nothing of ours sets it. Not in repr: a URL may hold a password."""
    return field(default="", repr=False, metadata={"variable": variable})


NOTIFIED = (
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
    on: str = ", ".join(NOTIFIED)
    """Kinds of decision, with commas between."""

    @property
    def words(self) -> frozenset[str]:
        return frozenset(word.strip() for word in self.on.split(",") if word.strip())

    @property
    def kinds(self) -> frozenset[str]:
        return self.words if self.target else frozenset()


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a command goes by."""

    address: Address | DoltLitePath
    """The beads database."""
    project_id: str | None = None
    """Of metadata.json: a database with another id is refused. None: not known, not checked."""
    rules: tuple[Rule, ...] = (Rule(name="agent"),)
    """In the order of the file."""
    targets: Mapping[str, TargetSettings] = field(default_factory=dict)
    """By name: each that a rule names, and each that is defined."""
    notify: Notify = field(default_factory=Notify)
    settle: timedelta = timedelta(seconds=2)
    """A change younger than this is left alone: bd writes one thought in several commits."""
    poll: timedelta = timedelta(seconds=2)
    """Longest pause of ``dolt_watch run`` between two looks; at least 50ms."""
    adopt: bool = True
    """Commit what others left uncommitted in watched tables, so that nothing is decided on what history does not hold."""
    actor_dispatch: str = "beads-dispatcher"
    """Actor of dispatch decisions in beads' events."""
    actor_reap: str = "beads-reaper"
    """Actor of reap decisions in beads' events."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Dotted key → where its value came from: 'default', 'dolt_watch.toml:12', 'DOLT_WATCH_SETTLE', '--database' …"""
