"""docs/reference/settings.md, from the dataclasses of the settings and their docstrings."""

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

`dolt_watch init --write-config` writes a complete, commented `dolt_watch.toml`. `dolt_watch config`
prints the values in force and where each value came from.

Set a key in `dolt_watch.toml`, with `--set KEY=VALUE`, or in an environment variable. The file is
searched in the working directory and the folders above it, next to `.beads/` and in it. `--config`
and `DOLT_WATCH_CONFIG` name another file. Later sources win: defaults, bd's files and variables,
`dolt_watch.toml`, environment, flags.

The name of a variable is `DOLT_WATCH_` and the key in capitals, with `_` for each `.` and `-`:
`settle` is `DOLT_WATCH_SETTLE`, and `targets.hook.secret` is `DOLT_WATCH_TARGETS_HOOK_SECRET`.
Variables exist for top-level keys, `[notify]`, and the secrets and URLs of targets. An empty
variable counts as not set. Unknown variables, keys and values are errors; the message names the
source and the closest match.

A duration is a number with its unit, such as `90s`, `30m`, `2h` or `1h30m`. In `--set`, lists and
tables are JSON. A relative path in the file starts at the folder of the file. Secrets aren't
allowed in the file or on a command line: use the environment variable, or set `KEY_file` to the
path of a file that contains the secret.
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
        "`dolt://user@host:port/database[/branch]` or `doltlite:///path`. If set,"
        " `.beads/metadata.json` isn't read, and its project ID isn't checked."
    )
    yield "`database`", "text", "the database that bd uses", url
    yield from _rows(Settings, {key: kind for key, kind in TOP.items() if key != "database"})


def _rows(cls: type, keys: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    means, defaults = attributes(cls), _defaults(cls)
    for key, kind in keys.items():
        assert means.get(key), f"{cls.__name__}.{key} has no docstring"
        yield code(key), TYPES[kind], defaults[key], means[key]


def _defaults(cls: type) -> dict[str, str]:
    """Return the default of each key of a dataclass or NamedTuple."""
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
The database's password is the first that is set of `DOLT_WATCH_PASSWORD`, the file that
`DOLT_WATCH_PASSWORD_FILE` names, `BEADS_DOLT_PASSWORD`, and bd's credentials file.
`DOLT_WATCH_DEBUG=1` prints the traceback of an error. `DOLT_WATCH_PING_URL` is fetched after each
successful tick ([metrics](metrics.md)).
"""
_RULES = """Without any rule, there is one named `agent` with the defaults. A bead belongs to the
first rule in the file that it matches.
"""
_TARGETS = """A target runs the agents. [Targets](../targets.md) explains how dolt_watch interprets
the answers of each kind. The name of a kind is also the name of a target that needs no table.
"""
