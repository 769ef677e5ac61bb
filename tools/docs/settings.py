"""docs/reference/settings.md: from the settings' own dataclasses and their docstrings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import timedelta
from typing import Any

from dolt_watch.config.converters import duration_text
from dolt_watch.config.model import Links, Notify, Settings
from dolt_watch.config.sources import LINKS, NOTIFY, RULE, TOP
from dolt_watch.core.model.rule import Rule
from dolt_watch.targets import registry
from dolt_watch.targets.settings import TargetSettings
from tools.docs.reading import GENERATED, attributes, code, flat, table

TYPES = {
    "str": "text",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "timedelta": "duration",
    "Path | None": "path",
    "tuple[str, ...]": "list of texts",
    "Mapping[str, str]": "table of texts",
    "secret": "secret",
}
HEAD = ("key", "type", "default", "meaning")
INTRO = """# Settings

Each setting has one key. It is given in `dolt_watch.toml` (in the working directory or a folder
above it, beside `.beads/` or in it, or named by `--config` or `DOLT_WATCH_CONFIG`) or as
`--set KEY=VALUE`. Top-level keys, `[notify]`, and the URLs and secrets of targets also have
environment variables. The later place wins: defaults, beads' own files and variables,
`dolt_watch.toml`, environment, flags. `dolt_watch config` prints the values in effect, and where
each value came from.

A variable is the key in capitals, with `DOLT_WATCH_` before it, and `_` for each `.` and `-`:
`settle` is `DOLT_WATCH_SETTLE`, and `targets.hook.secret` is `DOLT_WATCH_TARGETS_HOOK_SECRET`. In
`[targets.NAME]`, secrets and keys that end in `url` have one. An empty variable counts as not set.
Unknown variables, keys and values are errors; the message names the place and the closest match.
A variable for any other key of a rule or target is an error that names the key.

A duration is a number with its unit: `90s`, `30m`, `2h`, `1h30m`. A list or table in `--set` is
JSON. A relative path in the file is relative to the file. A
secret stands in no file of settings and on no command line: it comes from its environment
variable, or from the file that the key `KEY_file` names.
"""


def page() -> str:
    parts = [
        GENERATED.format(source="`dolt_watch/core/model/rule.py` and `dolt_watch/config/`"),
        INTRO,
    ]
    parts += ["## Top level\n", table(HEAD, _top()), _PASSWORD]
    parts += [
        "## `[rules.NAME]`\n",
        flat(Rule.__doc__).split(" The settings reference")[0] + "\n",
        _RULES,
        table(HEAD, _rows(Rule, RULE)),
    ]
    parts += ["## `[notify]`\n", flat(Notify.__doc__) + "\n", table(HEAD, _rows(Notify, NOTIFY))]
    parts += ["## `[links]`\n", flat(Links.__doc__) + "\n", table(HEAD, _rows(Links, LINKS))]
    parts += ["## `[targets.NAME]`\n", _TARGETS]
    common = {
        key: kind
        for key, kind in registry.setting_types("beadboard").items()
        if key in {each.name for each in fields(TargetSettings)}
    }
    parts += [table(HEAD, _rows(TargetSettings, common))]
    for kind in registry.BUILT_IN:
        own = {key: text for key, text in registry.setting_types(kind).items() if key not in common}
        cls = registry.settings_class(kind)
        parts += [
            f'### `kind = "{kind}"`\n',
            flat(cls.__doc__) + "\n",
            table(HEAD, _rows(cls, own)),
        ]
    return "\n".join(parts)


def _top() -> Iterator[tuple[str, str, str, str]]:
    url = (
        "`dolt://user@host:port/database[/branch]`, or `doltlite:///path`. Named here,"
        " metadata.json is not asked, nor its project id checked."
    )
    yield "`database`", "text", "as bd finds it", url
    yield from _rows(Settings, {key: kind for key, kind in TOP.items() if key != "database"})


def _rows(cls: type, keys: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    means, defaults = attributes(cls), _defaults(cls)
    for key, kind in keys.items():
        assert means.get(key), f"{cls.__name__}.{key} has no docstring"
        yield code(key), TYPES[kind], defaults[key], means[key]


def _defaults(cls: type) -> dict[str, str]:
    """Key → its default, of a dataclass or a NamedTuple."""
    if not is_dataclass(cls):
        return {name: _shown(value) for name, value in cls._field_defaults.items()}  # type: ignore[attr-defined]
    return {each.name: _default(each) for each in fields(cls)}


def _default(field: Field[Any]) -> str:
    variable = field.metadata.get("variable")
    if variable:
        return f"`{variable}`"
    return _shown(
        field.default_factory() if field.default_factory is not MISSING else field.default
    )


def _shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return code(f'"{duration_text(value)}"')
    if value is MISSING or value is None or value == "" or value == {} or value == ():
        return "none"
    return code(json.dumps(list(value) if isinstance(value, tuple) else value, default=str))


_PASSWORD = """
The database's password comes from `DOLT_WATCH_PASSWORD`, else from the file that
`DOLT_WATCH_PASSWORD_FILE` names, else as bd finds it: `BEADS_DOLT_PASSWORD`, then beads'
credentials
file. `DOLT_WATCH_DEBUG=1` shows the traceback of an error. `DOLT_WATCH_PING_URL` is fetched after
each good tick ([metrics](metrics.md)).
"""
_RULES = """Without any there is one, `[rules.agent]`, with the defaults. A bead belongs to the
first rule in the file that it matches.
"""
_TARGETS = """Who runs the beads. What each answer of theirs means: [targets](../targets.md).
The name of a kind is also the name of a target that needs no table.
"""
