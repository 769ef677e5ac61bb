"""The settings: their sources, their values in force, and their text. Begin with ``load``."""

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
    """Return the duration of an option that isn't a setting, such as "2s" or "30m".

    ``where`` is the name of the option. Raises SettingsError.
    """
    # Late: an idle tick parses no option.
    from dolt_watch.config.converters import RawValue, convert

    value: timedelta = convert(RawValue((where,), text, where, where), "timedelta")
    return value
