"""The settings: where they come from, what they come to, and how they are told.

``load`` is the way in.
"""

from datetime import timedelta

from dolt_watch.config.loader import load
from dolt_watch.config.model import Settings
from dolt_watch.config.serialization import (
    SettingLine,
    describe,
    from_canonical_json,
    hash_of_text,
    rule_hash,
    settings_hash,
    to_canonical_json,
)
from dolt_watch.targets.settings import TargetSettings

__all__ = [
    "SettingLine",
    "Settings",
    "TargetSettings",
    "describe",
    "duration",
    "from_canonical_json",
    "hash_of_text",
    "load",
    "rule_hash",
    "settings_hash",
    "to_canonical_json",
]


def duration(text: str, where: str) -> timedelta:
    """A duration given elsewhere than in the settings: '2s', '30m'. Raises SettingsError."""
    from dolt_watch.config.converters import RawValue, convert

    value: timedelta = convert(RawValue((where,), text, where, where), "timedelta")
    return value
