"""The other places where settings are given: environment and flags; and which keys there are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields

from dolt_watch.errors import SettingsError
from dolt_watch.rule import Rule
from dolt_watch.settings.model import Settings, TargetSettings
from dolt_watch.settings.values import Given, check_name, nearest, shown

PREFIX = "DOLT_WATCH_"
_SIMPLE = ("settle", "adopt", "actor_dispatch", "actor_reap")
TOP: dict[str, str] = {"database": "str"} | {f.name: str(f.type) for f in fields(Settings) if f.name in _SIMPLE}
"""Top-level key → its type. The annotations are text: model modules have ``from __future__ import annotations``."""
TABLES: dict[str, dict[str, str]] = {
    "rules": {f.name: str(f.type) for f in fields(Rule) if f.name != "name"},
    "targets": {f.name: str(f.type) for f in fields(TargetSettings) if f.name != "name"},
}
"""Table → its keys → their types."""
_SECRET = ("PASSWORD", "PASSWORD_FILE")
_ELSEWHERE = frozenset({*_SECRET, "CONFIG", "DEBUG"})
# Kubernetes sets these in every pod of a namespace with a Service named dolt-watch.
_KUBERNETES = r"SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?"
PASSWORD_FIX = "set DOLT_WATCH_PASSWORD, or DOLT_WATCH_PASSWORD_FILE to the path of a file that holds it"


def check_file(givens: Iterable[Given]) -> None:
    """Raises SettingsError: a key that there is not, or a value where a table belongs."""
    for given in givens:
        head, depth = given.path[0], len(given.path)
        if head not in TABLES:
            if head == "password":
                raise SettingsError("a password has no place in settings", where=given.where, fix=PASSWORD_FIX)
            _known(head, [*TOP, *TABLES], "key", given.where)
        elif depth < 3:
            if not isinstance(given.value, dict):
                fix = f"write a line [{head}.NAME] above it"
                raise SettingsError(f"{given.key} is a table [{head}.NAME]", where=given.where, fix=fix)
            if depth == 2:
                check_name(given.path[1], head[:-1], given.where)
        else:
            check_name(given.path[1], head[:-1], given.where)
            _known(given.path[2], TABLES[head], f"key in [{head}.{given.path[1]}]", given.where)


def _known(word: str, known: Iterable[str], what: str, where: str) -> None:
    names = list(known)
    if word not in names:
        raise SettingsError(f"no such {what}: {shown(word)}", where=where, fix=nearest(word, names))


def from_env(env: Mapping[str, str], names: Mapping[str, Collection[str]]) -> list[Given]:
    """``names``: table → the names defined in it. An empty variable counts as not set: that is how manifests switch one off.

    Raises:
        SettingsError: a DOLT_WATCH_… that there is not.
    """
    found = []
    for variable in sorted(name for name in env if name.startswith(PREFIX)):
        word = variable.removeprefix(PREFIX)
        if word in _ELSEWHERE or word.startswith("TEST_") or re.fullmatch(_KUBERNETES, word):
            continue
        path = _path(word, variable, names)
        if env[variable]:
            found.append(Given(path, env[variable], variable, variable))
    return found


def _path(word: str, variable: str, names: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    if word.lower() in TOP and word.isupper():
        return (word.lower(),)
    for table, keys in TABLES.items():
        head = f"{table.upper()}_"
        if not word.startswith(head):
            continue
        rest = word.removeprefix(head)
        key = max((k for k in keys if rest.endswith(f"_{k.upper()}")), key=len, default=None)
        if key is None:
            break
        spelt = rest[: -len(key) - 1]
        meant = [name for name in names[table] if _spelt(name) == spelt]
        if len(meant) > 1:
            message = f"{variable} means each of {', '.join(meant)}"
            raise SettingsError(
                message, where=variable, fix=f"set {key} in the file, or with --set {table}.NAME.{key}=…"
            )
        if not meant:
            what = table[:-1]
            fix = nearest(spelt, {_spelt(name) for name in names[table]}) + f" (or define [{table}.{spelt.lower()}])"
            raise SettingsError(f"{variable} sets a {what} that is not defined: {spelt}", where=variable, fix=fix)
        return (table, meant[0], key)
    every = [PREFIX + name for name in (*map(str.upper, TOP), *_SECRET, "CONFIG", "DEBUG")]
    for table, keys in TABLES.items():
        every += [f"{PREFIX}{table.upper()}_{_spelt(name)}_{key.upper()}" for name in names[table] for key in keys]
    raise SettingsError(f"no such setting: {variable}", where=variable, fix=nearest(variable, every))


def _spelt(name: str) -> str:
    return name.upper().replace("-", "_")


def from_flags(database: str | None, assignments: Iterable[str], names: Mapping[str, Collection[str]]) -> list[Given]:
    """``--set KEY=VALUE``, then ``--database``.

    Raises:
        SettingsError: no '=', or a key or name that there is not.
    """
    found = []
    for text in assignments:
        key, equals, value = text.partition("=")
        key = key.strip()
        where = f"--set {key}"
        path = tuple(key.split("."))
        if path[-1] == "password":
            fix = PASSWORD_FIX
            raise SettingsError("a password has no place on a command line", where="--set", fix=fix)
        if path[-1].endswith("url") and "@" in value:
            fix = f"set {PREFIX}{'_'.join(map(_spelt, path))}, or write it in dolt_watch.toml"
            raise SettingsError("a URL with a user or a password has no place on a command line", where=where, fix=fix)
        if not equals:
            fix = "write --set rules.agent.stale_after=15m"
            raise SettingsError(f"--set takes KEY=VALUE, not {shown(text)}", where="--set", fix=fix)
        if len(path) == 3 and path[0] in TABLES:
            _known(path[1], names[path[0]], path[0][:-1], where)
            _known(path[2], TABLES[path[0]], f"key in [{path[0]}.{path[1]}]", where)
        elif len(path) != 1 or key not in TOP:
            every = [*TOP, *(f"{table}.{name}.{k}" for table in TABLES for name in names[table] for k in TABLES[table])]
            raise SettingsError(f"no such setting: {shown(key)}", where=where, fix=nearest(key, every))
        found.append(Given(path, value, where, where))
    if database is not None:
        found.append(Given(("database",), database, "--database", "--database"))
    return found
