"""The settings in the environment and in flags, and the keys that exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from dolt_watch.config.converters import RawValue, check_name, convert, format_raw
from dolt_watch.config.model import Links, Notify, Settings
from dolt_watch.core.model.rule import Rule
from dolt_watch.errors import SettingsError
from dolt_watch.suggestions import suggest
from dolt_watch.targets import registry

PREFIX = "DOLT_WATCH_"
_SIMPLE = ("settle", "poll", "adopt", "actor_dispatch", "actor_reap")
SIMPLE: dict[str, str] = {f.name: str(f.type) for f in fields(Settings) if f.name in _SIMPLE}
"""Top-level key with one value → its type.

The types are text, because model modules have ``from __future__ import annotations``.
"""
TOP: dict[str, str] = {"database": "str"} | SIMPLE
"""Top-level key → its type."""
RULE: dict[str, str] = {f.name: str(f.type) for f in fields(Rule) if f.name != "name"}
"""Key of a rule → its type."""
NOTIFY: dict[str, str] = dict.fromkeys(Notify._fields, "str")
"""Key of ``[notify]`` → its type."""
LINKS: dict[str, str] = dict.fromkeys(Links._fields, "str")
"""Key of ``[links]`` → its type."""
SECTIONS = {"notify": NOTIFY, "links": LINKS}
"""Tables without names → their keys."""
TABLES = ("rules", "targets")
_FIXED = (*TOP, *(f"{name}.{key}" for name, keys in SECTIONS.items() for key in keys))
"""Dotted keys outside ``TABLES``."""
_VARIABLES = {key.replace(".", "_").upper(): tuple(key.split(".")) for key in _FIXED}
"""The rest of a variable's name → the path of its key."""
_SECRET = ("PASSWORD", "PASSWORD_FILE")
# dolt_watch sets these for its agents, which may run its commands.
_OF_AGENTS = ("TOKEN", "PROMPT", "RULE")
OTHER_VARIABLES = frozenset({*_SECRET, "CONFIG", "DEBUG", "METRICS_FILE", "PING_URL"})
# Kubernetes sets these in every pod of a namespace with a Service named dolt-watch.
_KUBERNETES = r"SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?"
PASSWORD_FIX = (
    "Set DOLT_WATCH_PASSWORD, or DOLT_WATCH_PASSWORD_FILE to the path of a file that contains it."
)


class Names(NamedTuple):
    """The rules and targets that exist."""

    rules: tuple[str, ...]
    """Names of rules, in the order of the file."""
    kinds: Mapping[str, str]
    """Target → its kind, for targets in the file and for the name of each kind."""

    def of(self, table: str) -> Iterable[str]:
        """Return the names in a table."""
        return self.rules if table == "rules" else self.kinds

    def keys(self, table: str, name: str) -> Mapping[str, str]:
        """Return the keys of a rule or target with their types.

        A target has the keys of its kind, whose settings are imported at the first use.
        """
        return RULE if table == "rules" else registry.setting_types(self.kinds[name])


def tables(settings: Settings) -> Iterator[tuple[str, Any, Mapping[str, str]]]:
    """Yield the dotted name of each table, its values, and its keys with their types."""
    for section, keys in SECTIONS.items():
        yield section, getattr(settings, section), keys
    for rule in settings.rules:
        yield f"rules.{rule.name}", rule, RULE
    for target in settings.targets.values():
        yield f"targets.{target.name}", target, registry.setting_types(target.kind)


def check_shape(givens: Iterable[RawValue]) -> None:
    """Raise SettingsError for an unknown top-level key, or a value in the place of a table."""
    for given in givens:
        head, depth = given.path[0], len(given.path)
        # Only the shape is checked here: types come later, when all sources are merged.
        if head == "password":
            problem = "Passwords aren't allowed in the settings file."
            raise SettingsError(problem, where=given.where, fix=PASSWORD_FIX)
        _require_known(head, [*TOP, *SECTIONS, *TABLES], "key", given.where)
        if head in TOP:
            continue
        form = head if head in SECTIONS else f"{head}.NAME"
        if depth < 2 + (head in TABLES) and not isinstance(given.value, dict):
            table = "a table" if head in SECTIONS else f"a table [{form}]"
            raise SettingsError(
                f"{given.key} must be {table}, but is a value.",
                where=given.where,
                fix=f"Write a line `[{form}]` above it.",
            )
        if depth > 1 and head in SECTIONS:
            _require_known(given.path[1], SECTIONS[head], f"[{head}] key", given.where)
        elif depth > 1:
            check_name(given.path[1], head[:-1], given.where)


def check_keys(givens: Iterable[RawValue], names: Names) -> None:
    """Raise SettingsError for a key that rules, or targets of this kind, don't have."""
    for given in givens:
        if len(given.path) == 3:
            _key(given.path, names, given.where)


def _key(path: tuple[str, ...], names: Names, where: str) -> None:
    table, name, key = path
    keys = names.keys(table, name)
    _require_known(key, keys, f"[{table}.{name}] key", where)
    if keys[key] == "secret":
        variable = PREFIX + _env_name(".".join(path))
        raise SettingsError(
            f"A {key} isn't allowed in the settings file or on a command line.",
            where=where,
            fix=f"Set {variable}, or {key}_file to the path of a file that contains it.",
        )


def _require_known(word: str, known: Iterable[str], what: str, where: str) -> None:
    names = list(known)
    if word not in names:
        raise SettingsError(
            f"There is no {what} {format_raw(word)}.", where=where, fix=suggest(word, names)
        )


def target_kind(name: str, givens: Iterable[RawValue], assignments: Iterable[str]) -> str:
    """Return the kind of a target from the last source that sets it.

    The kind is needed first, because the valid keys of the target's table depend on it. Sources are
    the values of the settings file, and the texts of --set.

    Raises:
        SettingsError: There is no such kind.
    """
    path = ("targets", name, "kind")
    found = [given for given in givens if given.path == path]
    for text in assignments:
        key, _, value = text.partition("=")
        if key.strip() == ".".join(path):
            found.append(RawValue(path, value, f"--set {key}", f"--set {key}"))
    if not found:
        return name if name in registry.BUILT_IN else "beadboard"
    kind: str = convert(found[-1], "str")
    if not registry.is_kind(kind):
        kinds = registry.kinds()
        raise found[-1].type_error(f"one of {', '.join(kinds)}", suggest(kind, kinds))
    return kind


def from_env(env: Mapping[str, str], names: Names) -> list[RawValue]:
    """Return the values in the environment: top-level keys, ``[notify]``, URLs and secrets.

    An empty variable counts as not set, so that a manifest can switch a variable off.

    Raises:
        SettingsError: A DOLT_WATCH_… variable doesn't exist, or is ambiguous.
    """
    found = []
    for variable in sorted(name for name in env if name.startswith(PREFIX)):
        word = variable.removeprefix(PREFIX)
        if word in OTHER_VARIABLES or word in _OF_AGENTS or word.startswith("TEST_"):
            continue
        if re.fullmatch(_KUBERNETES, word):
            continue
        path = _path(word, variable, names)
        if env[variable]:
            found.append(RawValue(path, env[variable], variable, variable))
    return found


def has_variable(key: str, kind: str) -> bool:
    """Return whether an environment variable may set this key of a target: a URL or a secret.

    URLs and secrets differ between installations, and may contain a password.
    """
    return kind == "secret" or key.endswith("url")


def _path(word: str, variable: str, names: Names) -> tuple[str, ...]:
    # Top-level keys and sections have exactly one spelling.
    if word in _VARIABLES:
        return _VARIABLES[word]
    # Names may contain underscores, so a variable can be split in several ways.
    spelt = _spelt(word, names)
    meant = [
        (table, name, key)
        for table, name, key in spelt
        if table == "targets" and has_variable(key, names.keys(table, name)[key])
    ]
    if len(meant) == 1:
        return meant[0]
    if spelt:
        key = ".".join((meant or spelt)[0])
        problem = f"{key} has no environment variable."
        if meant:
            each = ", ".join(name for _, name, _ in meant)
            problem = f"{variable} is ambiguous: it means each of {each}."
        fix = f"Set {key} in dolt_watch.toml, or with --set {key}=…."
        raise SettingsError(problem, where=variable, fix=fix)
    # Settings of rules have no variables.
    if word.startswith("RULES_"):
        fix = "Set it in [rules.NAME] of dolt_watch.toml, or with --set rules.NAME.KEY=…."
    else:
        fix = suggest(variable, _all_variables(names))
    raise SettingsError(f"There is no setting {variable}.", where=variable, fix=fix)


def _spelt(word: str, names: Names) -> list[tuple[str, str, str]]:
    """Return the keys of rules and targets that a variable may mean, with "-" written as "_".

    The settings of a kind are imported only if a name matches.
    """
    return [
        (table, name, key)
        for table in TABLES
        for name in names.of(table)
        if word.startswith(f"{_env_name(f'{table}.{name}')}_")
        for key in names.keys(table, name)
        if word == _env_name(f"{table}.{name}.{key}")
    ]


def _all_variables(names: Names) -> list[str]:
    """Return the names of all variables."""
    words = [*_VARIABLES, *_SECRET, "CONFIG", "DEBUG"]
    words += [
        _env_name(f"targets.{name}.{key}")
        for name in names.kinds
        for key, kind in names.keys("targets", name).items()
        if has_variable(key, kind)
    ]
    return [PREFIX + word for word in words]


def _env_name(key: str) -> str:
    """Return the name of a dotted key's variable, without its prefix."""
    return key.upper().replace("-", "_").replace(".", "_")


def from_flags(database: str | None, assignments: Iterable[str], names: Names) -> list[RawValue]:
    """Return the values of ``--set KEY=VALUE`` and ``--database``.

    Raises:
        SettingsError: A text has no "=", or its key doesn't exist.
    """
    found = []
    for text in assignments:
        key, equals, value = text.partition("=")
        key = key.strip()
        where, path = f"--set {key}", tuple(key.split("."))
        # Other users of the machine can read command lines, so secrets are refused first.
        if path[-1] == "password":
            problem = "Passwords aren't allowed on a command line."
            raise SettingsError(problem, where="--set", fix=PASSWORD_FIX)
        if path[-1].endswith("url") and "@" in value:
            problem = "URLs with a user or a password aren't allowed on a command line."
            fix = f"Set {PREFIX}{_env_name(key)}, or set it in dolt_watch.toml."
            raise SettingsError(problem, where=where, fix=fix)
        if not equals:
            problem = f"--set must be KEY=VALUE, but is {format_raw(text)}."
            fix = "Use for example `--set rules.agent.stale_after=15m`."
            raise SettingsError(problem, where="--set", fix=fix)
        # The key must exist. A mistyped key would silently have no effect.
        if len(path) == 3 and path[0] in TABLES:
            _require_known(path[1], names.of(path[0]), path[0][:-1], where)
            _key(path, names, where)
        elif key not in _FIXED:
            named = [
                f"{table}.{name}.{each}"
                for table in TABLES
                for name in names.of(table)
                for each in names.keys(table, name)
            ]
            _require_known(key, [*_FIXED, *named], "setting", where)
        found.append(RawValue(path, value, where, where))
    if database is not None:
        found.append(RawValue(("database",), database, "--database", "--database"))
    return found
