"""The settings: where they come from, what they come to, and how they are told. ``load`` is the way in."""

from dolt_watch.settings.canonical import Line, describe, hash_of_text, rule_hash, rules_from, rules_text, settings_hash
from dolt_watch.settings.loading import load
from dolt_watch.settings.model import Settings, TargetSettings

__all__ = [
    "Line",
    "Settings",
    "TargetSettings",
    "describe",
    "hash_of_text",
    "load",
    "rule_hash",
    "rules_from",
    "rules_text",
    "settings_hash",
]
