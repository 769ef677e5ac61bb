"""Settings as text: for ``watch_settings``, for hashes and for ``dolt_watch config``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, NamedTuple

from dolt_watch.config.converters import RawValue, convert, duration_text
from dolt_watch.config.model import Settings
from dolt_watch.config.sources import RULE, SIMPLE, tables
from dolt_watch.core.model.rule import Rule
from dolt_watch.engines.address import FileAddress
from dolt_watch.sanitize import sanitize

HASH_LENGTH = 16
_HIDDEN, _NOT_SET = "********", "not set"
_LONGEST_VALUE = 4000


class SettingLine(NamedTuple):
    """One setting as ``dolt_watch config`` shows it."""

    key: str
    """Dotted."""
    value: str
    """The value as text, '********' for a secret, or 'not set'."""
    origin: str
    """Source of the value. A name of a file is sanitized."""
    secret: bool = False
    """Whether the value is hidden."""


def to_canonical_json(settings: Settings) -> str:
    """Return canonical JSON of the settings that decisions depend on.

    It contains no secrets, no URLs and nothing of the connection. Equal settings give equal text,
    whatever their source. Each decision names the text by ``settings_hash``.
    """
    import orjson  # Late: a tick that loads settings for --help of a target needs none.

    tree = {
        "rules": [
            {each.name: _plain(getattr(rule, each.name)) for each in fields(rule)}
            for rule in settings.rules
        ],
        "targets": {name: target.kind for name, target in settings.targets.items()},
        # No decision depends on the pause between two polls.
        **{key: _plain(getattr(settings, key)) for key in SIMPLE if key != "poll"},
    }
    return orjson.dumps(tree, option=orjson.OPT_SORT_KEYS).decode()


def from_canonical_json(text: str) -> tuple[tuple[Rule, ...], timedelta]:
    """Return the rules and ``settle`` that a text of ``to_canonical_json`` contains.

    Raises:
        SettingsError: A value is invalid in this version.
    """
    import orjson  # Late: only replays read recorded settings.

    tree = orjson.loads(text)

    def value(path: tuple[str, ...], kind: str, given: Any) -> Any:
        if given is None or (isinstance(given, str) and kind == "str"):
            return given
        return convert(RawValue(path, given, "watch_settings", "watch_settings"), kind)

    def rule(one: Mapping[str, Any]) -> Rule:
        path = ("rules", str(one.get("name")))
        return Rule(**{key: value((*path, key), RULE.get(key, "str"), one[key]) for key in one})

    rules = tuple(map(rule, tree["rules"]))
    return rules, value(("settle",), "timedelta", tree["settle"])


def settings_hash(settings: Settings) -> str:
    """Return the hash that names the settings in decisions."""
    return hash_of_text(to_canonical_json(settings))


def rule_hash(rule: Rule) -> str:
    """Return a hash of a rule's expressions, which select and order its beads.

    If it changes, the saved state is rebuilt. Thresholds aren't part of it.
    """
    import orjson  # Late: see to_canonical_json().

    return hash_of_text(orjson.dumps([rule.when, rule.running, rule.order_by]).decode())


def hash_of_text(text: str) -> str:
    """Return the hash of a text of settings."""
    import hashlib  # Late: `config` needs no hash.

    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def _plain(value: Any) -> Any:
    return duration_text(value) if isinstance(value, timedelta) else value


def describe(settings: Settings) -> list[SettingLine]:
    """Return each setting with its value and its source."""
    return [line._replace(origin=sanitize(line.origin)) for line in _lines(settings)]


def _lines(settings: Settings) -> Iterator[SettingLine]:
    address, origins = settings.address, settings.origins
    if isinstance(address, FileAddress):
        url = sanitize(address.url, _LONGEST_VALUE)
        yield SettingLine("database", url, origins.get("database", "default"))
    else:
        # The password has a line of its own, which never contains its value.
        parts = {each.name: str(each.type) for each in fields(address) if each.name != "password"}
        yield from _shown(replace(address, tls=address.uses_tls), "database.", parts, origins)
        yield from _shown(address, "", {"password": "secret"}, origins)
    yield from _shown(settings, "", {"project_id": "str"} | SIMPLE, origins)
    for name, values, keys in tables(settings):
        yield from _shown(values, f"{name}.", keys, origins)


def _shown(
    values: object, prefix: str, keys: Mapping[str, str], origins: Mapping[str, str]
) -> Iterator[SettingLine]:
    for name, kind in keys.items():
        key, given = f"{prefix}{name}", getattr(values, name)
        origin = origins.get(key, "default")
        if kind == "secret":
            yield SettingLine(key, _HIDDEN if given else _NOT_SET, origin, secret=True)
            continue
        value = _text(given)
        if name.endswith("url"):
            # Hide the user and password, up to the last "@" because a password may contain "/",
            # and the query, which may contain a token.
            value = re.sub(r"//.*@", f"//{_HIDDEN}@", value)
            value = re.sub(r"\?.*", f"?{_HIDDEN}", value)
        yield SettingLine(key, value, origin)


def _text(value: Any) -> str:
    if value is None or value == "":
        return _NOT_SET
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | Mapping):
        import orjson  # Late: few settings are lists or tables.

        value = orjson.dumps(value).decode()
    return sanitize(str(_plain(value)), _LONGEST_VALUE)
