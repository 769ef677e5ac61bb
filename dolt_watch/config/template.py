"""A complete settings file: each setting with its explanation, and the values in force."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from dolt_watch.config.converters import duration_text
from dolt_watch.config.docstrings import attributes
from dolt_watch.config.model import Settings
from dolt_watch.config.sources import PREFIX, SIMPLE, tables

WIDTH = 80
"""Columns of a comment."""
DATABASE = (
    "The beads database: dolt://user@host:port/database[/branch] or doltlite:///path. If unset, the"
    " database that bd uses. If set, .beads/metadata.json isn't read, and its project ID isn't"
    " checked."
)
_HEAD = """\
# Settings of dolt_watch. A line that begins with "#" and a key shows a default: to change it,
# remove the "#". `dolt_watch config` shows the values in force and where each came from.
"""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def settings_as_toml(settings: Settings) -> str:
    """Return a settings file that gives the same settings again.

    Values that aren't defaults are set; defaults are comments. A comment explains each key.
    Secrets, and URLs that may contain one, are left out.
    """
    return "\n".join(_lines(settings)) + "\n"


def _lines(settings: Settings) -> Iterator[str]:
    yield _HEAD
    # Only a URL sets all parts of an address; bd's files have no "ca".
    named = not {"database", "database.ca"}.isdisjoint(settings.origins)
    yield from _key("database", DATABASE, settings.address.url, set_=named)
    yield from _table(settings, "", SIMPLE, settings.origins)
    for name, values, keys in tables(settings):
        yield f"[{name}]"
        yield from _table(values, f"{name}.", keys, settings.origins)


def _table(
    values: object, prefix: str, kinds: Mapping[str, str], origins: Mapping[str, str]
) -> Iterator[str]:
    means = attributes(type(values))
    for name, kind in kinds.items():
        value, origin = getattr(values, name), origins.get(f"{prefix}{name}", "default")
        text = means.get(name, "")
        if kind == "secret":
            variable = PREFIX + re.sub(r"[.-]", "_", f"{prefix}{name}").upper()
            note = f"A secret: set {variable}, or {name}_file to the path of a file."
            yield from _comment(f"{text} {note}")
            yield ""
        elif name.endswith("url") and re.search(r"[@?]", str(value)):
            yield from _comment(f"{text} The value from {origin} may contain a secret.")
            yield f'#{name} = "…"\n'
        else:
            yield from _key(name, text, value, set_=origin != "default")


def _key(name: str, text: str, value: Any, *, set_: bool) -> Iterator[str]:
    yield from _comment(text)
    yield f"{'' if set_ else '#'}{name} = {_value(value)}\n"


def _comment(text: str) -> Iterator[str]:
    plain = re.sub(r"\s+", " ", text).strip()
    yield from textwrap.wrap(
        plain, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _value(value: Any) -> str:
    """Return a value as TOML. Strings of JSON are strings of TOML, except for DEL."""
    match value:
        case timedelta():
            return json.dumps(duration_text(value))
        case bool() | int() | float():
            return json.dumps(value)
        case tuple():
            return f"[{', '.join(_text(str(each)) for each in value)}]"
        case Mapping():
            pairs = ", ".join(f"{_name(key)} = {_text(str(each))}" for key, each in value.items())
            return f"{{{pairs}}}"
        case _:  # A text, a path or None: setting_types() has no other types.
            return _text("" if value is None else str(value))


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _name(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)
