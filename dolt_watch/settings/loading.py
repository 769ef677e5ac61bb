"""From all places to one ``Settings``. Later places win: defaults, beads' own, dolt_watch.toml, DOLT_WATCH_…, flags."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from dolt_watch.engines.address import Address, DoltLitePath, parse_url
from dolt_watch.errors import SettingsError
from dolt_watch.rule import Rule
from dolt_watch.settings import beads, sources, tomlfile
from dolt_watch.settings.model import KINDS, Settings, TargetSettings
from dolt_watch.settings.password import password
from dolt_watch.settings.values import Given, convert, nearest

_Table = TypeVar("_Table", Rule, TargetSettings)


@dataclass(frozen=True, slots=True)
class _Values:
    """What was given, the winner for each key."""

    by_path: Mapping[tuple[str, ...], Given]
    """Path → the last one given."""
    rules: tuple[str, ...]
    """Names, in the file's order."""
    targets: tuple[str, ...]
    """Names of tables in the file."""


def load(flags: Mapping[str, Any], env: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Settings:
    """The effective settings. ``flags``: 'database', 'config' (None where not given) and 'set' (texts KEY=VALUE).

    A database that is named outright (flag, environment, file) is taken as it is: metadata.json, and with it the project id, is
    then not asked, since it may be of another project.

    Raises:
        SettingsError: with the place, what was expected there, and what mends it.
    """
    here = (cwd or Path.cwd()).absolute()
    values = _gather(flags, env, here)
    origins: dict[str, str] = {}
    simple = {key: _value(values, (key,), kind, origins) for key, kind in sources.TOP.items() if key != "database"}
    address, project = _address(values, env, here, origins)
    rules = tuple(_table(Rule(name=name), "rules", values, origins) for name in values.rules)
    targets = _targets(rules, values, env, origins)
    chosen = {key: value for key, value in simple.items() if value is not None}
    return Settings(address, project, rules, targets, **chosen, origins=origins)


def _gather(flags: Mapping[str, Any], env: Mapping[str, str], here: Path) -> _Values:
    path = tomlfile.find(flags.get("config") or env.get("DOLT_WATCH_CONFIG") or "", env, here)
    given = tomlfile.read(path, here) if path else []
    sources.check_file(given)
    rules = _names(given, "rules") or ("agent",)
    targets = _names(given, "targets")
    # A kind's own name needs no table, so the environment may set it without one.
    names = {"rules": rules, "targets": tuple(dict.fromkeys([*targets, *KINDS]))}
    given += sources.from_env(env, names)
    given += sources.from_flags(flags.get("database"), flags.get("set") or (), names)
    return _Values({each.path: each for each in given}, rules, targets)


def _names(given: Iterable[Given], table: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.path[1] for each in given if each.path[0] == table and len(each.path) > 1))


def _value(values: _Values, path: tuple[str, ...], kind: str, origins: dict[str, str]) -> Any:
    """None where nobody gave it."""
    given = values.by_path.get(path)
    origins[".".join(path)] = given.origin if given else "default"
    return convert(given, kind) if given else None


def _table(default: _Table, table: str, values: _Values, origins: dict[str, str]) -> _Table:
    found = {
        key: _value(values, (table, default.name, key), kind, origins) for key, kind in sources.TABLES[table].items()
    }
    return replace(default, **{key: value for key, value in found.items() if value is not None})


def _targets(
    rules: Iterable[Rule], values: _Values, env: Mapping[str, str], origins: dict[str, str]
) -> dict[str, TargetSettings]:
    used = {rule.target: rule for rule in reversed(list(rules))}
    set_outside = [path[1] for path in values.by_path if path[0] == "targets" and len(path) == 3]
    targets = {}
    for name in dict.fromkeys([*values.targets, *set_outside, *used]):
        if name not in values.targets and name not in KINDS:
            key = ("rules", used[name].name, "target")
            fix = nearest(name, {*values.targets, *KINDS}) + f" (or define [targets.{name}])"
            raise SettingsError(f"no such target: {name!r}", where=values.by_path[key].where, fix=fix)
        kind = name if name in KINDS else "beadboard"
        target = _table(TargetSettings(name=name, kind=kind), "targets", values, origins)
        if not target.url and target.kind == "beadboard" and env.get("BEADBOARD_URL"):
            target = replace(target, url=env["BEADBOARD_URL"])
            origins[f"targets.{name}.url"] = "BEADBOARD_URL"
        targets[name] = target
    return targets


def _address(
    values: _Values, env: Mapping[str, str], here: Path, origins: dict[str, str]
) -> tuple[Address | DoltLitePath, str | None]:
    given = values.by_path.get(("database",))
    if given is None:
        found = beads.connection(env, here)
        origins |= found.origins
        secret, origins["password"] = password(found.address, env, here)
        return replace(found.address, password=secret), found.project_id
    url = convert(given, "str")
    try:
        address = parse_url(url)
    except SettingsError as error:
        if ":" in url.rpartition("@")[0].partition("//" if "//" in url else ":")[2]:
            # A password with / # or ? in it looks like a port or a path, which the error would quote.
            raise SettingsError(
                "a database URL must not hold a password", where=given.where, fix=sources.PASSWORD_FIX
            ) from None
        raise SettingsError(error.message, where=error.where or given.where, fix=error.fix) from None
    origins["project_id"] = "default"
    if isinstance(address, DoltLitePath):
        origins["database"] = given.origin
        return address, None
    # One URL says all of them.
    origins |= {f"database.{each.name}": given.origin for each in fields(address) if each.name != "password"}
    secret, origins["password"] = password(address, env, here)
    return replace(address, password=secret), None
