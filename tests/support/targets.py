"""Targets from their settings, as a tick opens them."""

from __future__ import annotations

from dolt_watch.targets.protocol import Target
from dolt_watch.targets.registry import TargetPool
from dolt_watch.targets.settings import TargetSettings


def open_target(settings: TargetSettings) -> Target:
    """Return the target. The caller closes it. Raises SettingsError."""
    return TargetPool({settings.name: settings})(settings.name)
