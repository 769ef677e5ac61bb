"""From settings to a target."""

from __future__ import annotations

from dolt_watch.settings import kinds
from dolt_watch.settings.model import TargetSettings
from dolt_watch.targets import Target


def open_target(settings: TargetSettings) -> Target:
    """The target of these settings; nothing is asked of it yet.

    Raises:
        SettingsError: no such kind, or settings that it cannot work with.
    """
    return kinds.opener(settings.kind)(settings)
