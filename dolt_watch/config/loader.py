"""Combine all sources into one ``Settings``.

Later sources win: defaults, beads' own files and variables, dolt_watch.toml, DOLT_WATCH_…, flags.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from dolt_watch.config import beads_connection, beads_folder, sources, toml_file
from dolt_watch.config.converters import RawValue, convert
from dolt_watch.config.credentials import find_password, read_secret_file
from dolt_watch.config.model import NOTIFIABLE_KINDS, PLACEHOLDERS, Links, Notify, Settings
from dolt_watch.config.serialization import hash_of_text
from dolt_watch.core.model.rule import Rule
from dolt_watch.engines.address import FileAddress, ServerAddress, parse_url
from dolt_watch.errors import SettingsError
from dolt_watch.suggestions import suggest
from dolt_watch.targets import registry
from dolt_watch.targets.settings import TargetSettings

_TIDIED = ("BEADS_", "BD_DOLT_", "DOLT_WATCH_PASSWORD", "DOLT_WATCH_CONFIG")


class _Values(NamedTuple):
    """The values that were set, the winner for each key."""

    by_path: Mapping[tuple[str, ...], RawValue]
    """Path → the value that wins."""
    names: sources.Names
    targets: tuple[str, ...]
    """Names of targets that have a table in the file."""
    here: Path
    """Folder that paths from the environment and from flags start at."""
    origins: dict[str, str]
    """Dotted key → source of its value. Filled while the values are checked."""

    def table(self, keys: Mapping[str, str], *path: str) -> dict[str, Any]:
        """Return the checked values of a table's keys that are set. Adds the origin of each key."""
        found: dict[str, Any] = {}
        for key, kind in keys.items():
            given = self.by_path.get((*path, key))
            self.origins[".".join((*path, key))] = given.origin if given else "default"
            if given:
                value = convert(given, kind)
                found[key] = self.here / value if isinstance(value, Path) else value
        return found


def load(
    flags: Mapping[str, Any], env: Mapping[str, str] = os.environ, cwd: Path | None = None
) -> Settings:
    """Return the settings in force.

    If a URL names the database (flag, environment or file), metadata.json and its project ID are
    ignored: they may belong to another project.

    Args:
        flags: 'database' and 'config', each None if not specified, and 'set', KEY=VALUE texts.
        env: The environment.
        cwd: Folder that files are searched from, or None for the working directory.

    Raises:
        SettingsError: A setting is invalid, or there is no database.
    """
    here = (cwd or _working_folder(env)).absolute()
    # A Secret made by `echo` ends with a newline. A password that begins or ends with a blank
    # belongs in a file (DOLT_WATCH_PASSWORD_FILE).
    env = {
        name: value.strip() if name.startswith(_TIDIED) else value for name, value in env.items()
    }
    # All sources as raw values with their origin: an error names the place of the value.
    values = _gather(flags, env, here)
    origins, simple = values.origins, values.table(sources.SIMPLE)
    # The database comes first: targets need its tracker for the paths of their files.
    address, project = _address(values, env)
    rules = tuple(
        Rule(name=name, **values.table(sources.RULE, "rules", name)) for name in values.names.rules
    )
    targets = _targets(rules, values, env)
    if any(type(target).located is not TargetSettings.located for target in targets.values()):
        folder = beads_folder.find(env, here).folder
        tracker = project or hash_of_text(address.url)
        targets = {name: each.located(tracker, folder, env) for name, each in targets.items()}
    # The kind of its target decides the default of a rule's on_unknown.
    rules = tuple(
        replace(rule, on_unknown="retry")
        if targets[rule.target].announces and origins[f"rules.{rule.name}.on_unknown"] == "default"
        else rule
        for rule in rules
    )
    return Settings(
        address=address,
        project_id=project,
        rules=rules,
        targets=targets,
        notify=_notify(values, targets),
        links=_links(values),
        **simple,
        origins=origins,
    )


def _working_folder(env: Mapping[str, str]) -> Path:
    try:
        return Path.cwd()
    except OSError as error:  # The folder was deleted.
        problem = f"Can't find the current folder: {error.strerror}."
        fix = "Change to a folder that exists, for example `cd ~`."
        raise SettingsError(problem, where=env.get("PWD", "."), fix=fix) from None


def _notify(values: _Values, targets: Mapping[str, TargetSettings]) -> Notify:
    """Return the settings of ``[notify]``.

    Raises:
        SettingsError: The target doesn't exist or is not a webhook, or a kind of decision doesn't
            exist.
    """
    notify = Notify(**values.table(sources.NOTIFY, "notify"))
    given = values.by_path.get(("notify", "target"))
    hooks = [name for name, target in targets.items() if target.kind == "webhook"]
    if given is not None and notify.target and notify.target not in hooks:
        fix = f'Define [targets.{notify.target}] with kind = "webhook".'
        if hooks:
            fix = f"Use one of: {', '.join(hooks)}."
        raise given.type_error("the name of a target of kind webhook", fix)
    unknown = sorted(notify.words - set(NOTIFIABLE_KINDS))
    if unknown:
        fix = f"{unknown[0]} is not one. {suggest(unknown[0], NOTIFIABLE_KINDS)}"
        raise values.by_path["notify", "on"].type_error("a list of decision kinds", fix)
    return notify


def _links(values: _Values) -> Links:
    """Return the settings of ``[links]``.

    Raises:
        SettingsError: A template isn't an HTTP URL, or has no placeholder.
    """
    links = values.table(sources.LINKS, "links")
    for key, template in links.items():
        mark = PLACEHOLDERS[key]
        if not template.startswith(("https://", "http://")) or mark not in template:
            fix = f'Use for example {key} = "https://…/{mark}".'
            raise values.by_path["links", key].type_error(f"a URL that contains {mark}", fix)
    return Links(**links)


def _gather(flags: Mapping[str, Any], env: Mapping[str, str], here: Path) -> _Values:
    if flags.get("config") == "":
        fix = "Specify the path of a settings file, or omit --config."
        raise SettingsError("The file name is empty.", where="--config", fix=fix)
    path = toml_file.find_file(flags.get("config") or env.get("DOLT_WATCH_CONFIG") or "", env, here)
    given = toml_file.read_file(path, here) if path else []
    sources.check_shape(given)
    rules = _names(given, "rules") or ("agent",)
    targets = _names(given, "targets")
    # The name of a kind needs no table, so variables and flags may set its keys without one.
    every = dict.fromkeys([*targets, *registry.BUILT_IN])
    kind_of = {name: sources.target_kind(name, given, flags.get("set") or ()) for name in every}
    names = sources.Names(rules, kind_of)
    sources.check_keys(given, names)
    given += sources.from_env(env, names)
    given += sources.from_flags(flags.get("database"), flags.get("set") or (), names)
    return _Values({each.path: each for each in given}, names, targets, here, {})


def _names(given: Iterable[RawValue], table: str) -> tuple[str, ...]:
    paths = (each.path for each in given)
    return tuple(dict.fromkeys(path[1] for path in paths if path[0] == table and len(path) > 1))


def _targets(
    rules: Iterable[Rule], values: _Values, env: Mapping[str, str]
) -> dict[str, TargetSettings]:
    used = {rule.target: rule for rule in reversed(list(rules))}
    set_outside = [path[1] for path in values.by_path if path[0] == "targets" and len(path) == 3]
    targets, kinds = {}, values.names.kinds
    for name in dict.fromkeys([*values.targets, *set_outside, *used]):
        if name not in kinds:
            where = values.by_path["rules", used[name].name, "target"].where
            fix = f"{suggest(name, kinds)} Or define [targets.{name}]."
            raise SettingsError(f"There is no target {name!r}.", where=where, fix=fix)
        kind = kinds[name]
        places = {
            path[2]: each.where
            for path, each in values.by_path.items()
            if path[:2] == ("targets", name) and path[2:]
        }
        given = values.table(registry.setting_types(kind), "targets", name)
        target = registry.settings_class(kind)(
            **{"name": name, "kind": kind, "origins": places} | given
        )
        targets[name] = _with_fallbacks(target, env, values.origins)
    return targets


def _with_fallbacks(
    target: TargetSettings, env: Mapping[str, str], origins: dict[str, str]
) -> TargetSettings:
    """Return the target with unset keys from ``KEY_file``, or from the variable of its service."""
    for each in fields(target):
        key, variable = each.name, each.metadata.get("variable")
        path = getattr(target, f"{key}_file", None) if each.metadata.get("secret") else None
        if getattr(target, key):
            continue
        if path is not None:
            fix = f"Set {key}_file to the path of a file that contains only the {key}."
            value, origin = read_secret_file(path, f"the {key} file", fix, blanks=False), str(path)
        elif variable and env.get(variable, "").strip():
            given = RawValue(("targets", target.name, key), env[variable], variable, variable)
            value, origin = convert(given, "str").strip(), variable
        else:
            continue
        change: dict[str, Any] = {key: value, "origins": {**target.origins, key: origin}}
        target = replace(target, **change)
        origins[f"targets.{target.name}.{key}"] = origin
    return target


def _address(
    values: _Values, env: Mapping[str, str]
) -> tuple[ServerAddress | FileAddress, str | None]:
    here, origins = values.here, values.origins
    given = values.by_path.get(("database",))
    if given is None:
        found = beads_connection.discover_connection(env, here)
        origins |= found.origins
        secret, origins["password"] = find_password(found.address, found.env, here)
        return replace(found.address, password=secret), found.project_id
    url = convert(given, "str")
    try:
        address = parse_url(url)
    except SettingsError as error:
        problem, where, fix = error.message, error.where or given.where, error.fix
        if ":" in url.rpartition("@")[0].partition("//" if "//" in url else ":")[2]:
            # A password that contains / # or ? looks like a port or a path, which the error would
            # contain.
            problem, where = "A database URL must not contain a password.", given.where
            fix = sources.PASSWORD_FIX
        raise SettingsError(problem, where=where, fix=fix) from None
    origins["project_id"] = "default"
    if isinstance(address, FileAddress):
        origins["database"] = given.origin
        return address, None
    # The URL sets all parts.
    origins |= {
        f"database.{each.name}": given.origin for each in fields(address) if each.name != "password"
    }
    secret, origins["password"] = find_password(address, env, here)
    return replace(address, password=secret), None
