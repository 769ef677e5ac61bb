"""The effective settings: values only, each already checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from dolt_watch.engines.address import Address, DoltLitePath
from dolt_watch.rule import Rule

KINDS = ("beadboard",)
"""Kinds of target; each is also the name of a target that needs no table. Held here, so that reading settings opens no target module."""


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """Who runs the beads: one ``[targets.NAME]`` table."""

    name: str
    """The NAME in ``[targets.NAME]``; rules refer to it."""
    kind: str = "beadboard"
    """How to talk to it."""
    url: str = field(default="", repr=False)
    """Where it answers, as http://HOST:PORT. BEADBOARD_URL fills it in where nothing else sets it. Not in repr: it may hold a password."""
    service_url: str = field(default="", repr=False)
    """claude-agent-service behind it, asked for capacity and evidence; '': never asked."""
    timeout: timedelta = timedelta(seconds=30)
    """Longest wait for one answer; more than 0, at most an hour."""


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
    settle: timedelta = timedelta(seconds=2)
    """A change younger than this is left alone: bd writes one thought in several commits."""
    adopt: bool = True
    """Commit what others left uncommitted in watched tables, so that nothing is decided on what history does not hold."""
    actor_dispatch: str = "beads-dispatcher"
    """Actor of dispatch decisions in beads' events."""
    actor_reap: str = "beads-reaper"
    """Actor of reap decisions in beads' events."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Dotted key → where its value came from: 'default', 'dolt_watch.toml:12', 'DOLT_WATCH_SETTLE', '--database' …"""
