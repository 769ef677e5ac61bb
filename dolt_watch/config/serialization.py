"""Settings as text: for ``watch_settings``, for hashes, for ``dolt_watch config``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, NamedTuple

from dolt_watch.config.converters import duration_text
from dolt_watch.config.model import Settings
from dolt_watch.config.sources import LINKS, NOTIFY, RULE, TOP
from dolt_watch.core.model.rule import Rule
from dolt_watch.engines.address import FileAddress
from dolt_watch.sanitize import sanitize
from dolt_watch.targets import registry

HASH_LENGTH = 16
_HIDDEN, _NOT_SET = "********", "not set"
_LONGEST_VALUE = 4000
NOT_HASHED = ("database", "poll")
"""Where, and how often."""


class SettingLine(NamedTuple):
    """One setting as ``dolt_watch config`` shows it."""

    key: str
    """Dotted."""
    value: str
    """As text; a secret as '********', or 'not set'."""
    origin: str
    """Where the value came from."""
    secret: bool = False
    """The value is hidden."""


def to_canonical_json(settings: Settings) -> str:
    """Canonical JSON of all that decisions depend on: no secrets, no URLs, nothing of the
    connection.

    Equal settings give equal text whatever file they came from; ``settings_hash`` names it in
    each decision.
    """
    import orjson

    tree = {
        "rules": [
            {each.name: _plain(getattr(rule, each.name)) for each in fields(rule)}
            for rule in settings.rules
        ],
        "targets": {name: target.kind for name, target in settings.targets.items()},
        **{key: _plain(getattr(settings, key)) for key in TOP if key not in NOT_HASHED},
    }
    return orjson.dumps(tree, option=orjson.OPT_SORT_KEYS).decode()


def from_canonical_json(text: str) -> tuple[tuple[Rule, ...], timedelta]:
    """The rules and ``settle`` that ``to_canonical_json`` said.

    Raises SettingsError where a value is none that this program takes.
    """
    import orjson

    from dolt_watch.config.converters import RawValue, convert

    tree = orjson.loads(text)

    def value(path: tuple[str, ...], kind: str, given: Any) -> Any:
        if given is None or (isinstance(given, str) and kind == "str"):
            return given
        return convert(RawValue(path, given, "watch_settings", "watch_settings"), kind)

    rules = tuple(
        Rule(
            **{
                name: value(("rules", str(one.get("name")), name), RULE.get(name, "str"), given)
                for name, given in one.items()
            }
        )
        for one in tree["rules"]
    )
    return rules, value(("settle",), "timedelta", tree["settle"])


def settings_hash(settings: Settings) -> str:
    return hash_of_text(to_canonical_json(settings))


def rule_hash(rule: Rule) -> str:
    """Of what decides which beads a rule holds and in which order: where it changed, the saved
    state is made anew. Thresholds are not in it.
    """
    import orjson

    return hash_of_text(orjson.dumps([rule.when, rule.running, rule.order_by]).decode())


def hash_of_text(text: str) -> str:
    """The name of a settings text."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def _plain(value: Any) -> Any:
    return duration_text(value) if isinstance(value, timedelta) else value


def describe(settings: Settings) -> list[SettingLine]:
    """Every setting, its value and where it came from."""
    return list(_lines(settings))


def _lines(settings: Settings) -> Iterator[SettingLine]:
    address, origins = settings.address, settings.origins
    if isinstance(address, FileAddress):
        yield SettingLine(
            "database", sanitize(address.url, _LONGEST_VALUE), origins.get("database", "default")
        )
    else:
        parts = {each.name: str(each.type) for each in fields(address) if each.name != "password"}
        yield from _shown(replace(address, tls=address.uses_tls), "database", parts, settings)
        yield SettingLine(
            "password",
            _HIDDEN if address.password else _NOT_SET,
            origins.get("password", "default"),
            secret=True,
        )
    yield SettingLine(
        "project_id", _text(settings.project_id), origins.get("project_id", "default")
    )
    for key in TOP:
        if key != "database":
            yield SettingLine(key, _text(getattr(settings, key)), origins.get(key, "default"))
    yield from _shown(settings.notify, "notify", NOTIFY, settings)
    yield from _shown(settings.links, "links", LINKS, settings)
    for rule in settings.rules:
        yield from _shown(rule, f"rules.{rule.name}", RULE, settings)
    for target in settings.targets.values():
        yield from _shown(
            target, f"targets.{target.name}", registry.setting_types(target.kind), settings
        )


def _shown(
    thing: object, prefix: str, keys: Mapping[str, str], settings: Settings
) -> Iterator[SettingLine]:
    for name, kind in keys.items():
        key, given = f"{prefix}.{name}", getattr(thing, name)
        origin = settings.origins.get(key, "default")
        if kind == "secret":
            yield SettingLine(key, _HIDDEN if given else _NOT_SET, origin, secret=True)
            continue
        value = _text(given)
        if name.endswith("url"):
            # User and password of a URL, and what a query may carry as a token.
            value = re.sub(
                r"//.*@", f"//{_HIDDEN}@", value
            )  # to the last '@': a password may hold a '/'
            value = re.sub(r"\?.*", f"?{_HIDDEN}", value)
        yield SettingLine(key, value, origin)


def _text(value: Any) -> str:
    if value is None or value == "":
        return _NOT_SET
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | Mapping):
        import orjson

        value = orjson.dumps(value).decode()
    return sanitize(str(_plain(value)), _LONGEST_VALUE)
