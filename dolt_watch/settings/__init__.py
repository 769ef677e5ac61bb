"""The settings: where they come from, what they come to, and how they are told. ``load`` is the way in."""

from dolt_watch.settings.canonical import Line, describe, rule_hash, rules_from, rules_text, settings_hash
from dolt_watch.settings.loading import load
from dolt_watch.settings.model import KINDS, Settings, TargetSettings

__all__ = [
    "KINDS",
    "Line",
    "Settings",
    "TargetSettings",
    "describe",
    "load",
    "rule_hash",
    "rules_from",
    "rules_text",
    "settings_hash",
]
