"""Combine all sources into one ``Settings``.

Later sources win: defaults, beads' own files and variables, dolt_watch.toml, DOLT_WATCH_…, flags.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from dolt_watch.config import beads_connection, beads_folder, sources, toml_file
from dolt_watch.config.converters import RawValue, convert
from dolt_watch.config.credentials import find_password, read_secret_file
from dolt_watch.config.model import NOTIFIABLE_KINDS, PLACEHOLDERS, Links, Notify, Settings
from dolt_watch.core.model.rule import Rule
from dolt_watch.engines.address import FileAddress, ServerAddress, parse_url
from dolt_watch.errors import SettingsError
from dolt_watch.suggestions import suggest
from dolt_watch.targets import registry
from dolt_watch.targets.settings import TargetSettings

_TIDIED = ("BEADS_", "BD_DOLT_", "DOLT_WATCH_PASSWORD", "DOLT_WATCH_CONFIG")
_Table = TypeVar("_Table", bound=Rule | TargetSettings)


class _Values(NamedTuple):
    """The values that were set, the winner for each key."""

    by_path: Mapping[tuple[str, ...], RawValue]
    """Path → the value that wins."""
    rules: tuple[str, ...]
    """Names of rules, in the order of the file."""
    targets: tuple[str, ...]
    """Names of targets that have a table in the file."""
    kinds: Mapping[str, str]
    """Target → its kind, for targets in the file and for the name of each kind."""
    here: Path
    """Folder that paths from the environment and from flags start at."""


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
    here = (cwd or Path.cwd()).absolute()
    env = _tidy(env)
    # All sources as raw values with their origin: an error names the place of the value.
    values = _gather(flags, env, here)
    origins: dict[str, str] = {}
    simple = {
        key: _value(values, (key,), kind, origins)
        for key, kind in sources.TOP.items()
        if key != "database"
    }
    # The database comes first: targets need its tracker for the paths of their files.
    address, project = _address(values, env, here, origins)
    rules = tuple(
        _table(Rule(name=name), "rules", sources.RULE, values, origins) for name in values.rules
    )
    targets = _targets(rules, values, env, origins)
    targets = _located(targets, project or _tracker_id(address), env, here)
    # The kind of its target decides the default of a rule's on_unknown.
    rules = tuple(_announced(rule, targets[rule.target], values) for rule in rules)
    notify = _notify(values, targets, origins)
    chosen = {key: value for key, value in simple.items() if value is not None}
    return Settings(
        address=address,
        project_id=project,
        rules=rules,
        targets=targets,
        notify=notify,
        links=_links(values, origins),
        **chosen,
        origins=origins,
    )


def _located(
    targets: Mapping[str, TargetSettings], tracker: str, env: Mapping[str, str], here: Path
) -> dict[str, TargetSettings]:
    """Return the targets with their settings for this tracker."""
    if all(type(target).located is TargetSettings.located for target in targets.values()):
        return dict(targets)
    folder = beads_folder.find(env, here).folder
    return {name: target.located(tracker, folder, env) for name, target in targets.items()}


def _tracker_id(address: ServerAddress | FileAddress) -> str:
    """Return a name for a tracker without a project ID, made from its address."""
    import hashlib  # Late: few kinds of target need the name.

    return hashlib.sha256(address.url.encode()).hexdigest()[:16]


def _tidy(env: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment without blanks and newlines around addresses, paths and secrets.

    A Secret made by `echo` ends with a newline. A password that begins or ends with a blank belongs
    in a file (``DOLT_WATCH_PASSWORD_FILE``).
    """
    return {
        name: value.strip() if name.startswith(_TIDIED) else value for name, value in env.items()
    }


def _notify(
    values: _Values, targets: Mapping[str, TargetSettings], origins: dict[str, str]
) -> Notify:
    """Return the settings of ``[notify]``.

    Raises:
        SettingsError: The target doesn't exist or is not a webhook, or a kind of decision doesn't
            exist.
    """
    found = {
        key: _value(values, ("notify", key), kind, origins) for key, kind in sources.NOTIFY.items()
    }
    notify = Notify(**{key: value for key, value in found.items() if value is not None})
    given = values.by_path.get(("notify", "target"))
    if (
        given is not None
        and notify.target
        and (notify.target not in targets or targets[notify.target].kind != "webhook")
    ):
        hooks = [name for name, target in targets.items() if target.kind == "webhook"]
        fix = (
            f"Use one of: {', '.join(hooks)}."
            if hooks
            else f'Define [targets.{notify.target}] with kind = "webhook".'
        )
        raise given.type_error("the name of a target of kind webhook", fix)
    unknown = sorted(notify.words - set(NOTIFIABLE_KINDS))
    if unknown:
        raise values.by_path["notify", "on"].type_error(
            "a list of decision kinds",
            f"{unknown[0]} is not one. {suggest(unknown[0], NOTIFIABLE_KINDS)}",
        )
    return notify


def _links(values: _Values, origins: dict[str, str]) -> Links:
    """Return the settings of ``[links]``.

    Raises:
        SettingsError: A template isn't an HTTP URL, or has no placeholder.
    """
    found = {
        key: _value(values, ("links", key), kind, origins) for key, kind in sources.LINKS.items()
    }
    for key, template in found.items():
        mark = PLACEHOLDERS[key]
        usable = template is None or (
            template.startswith(("https://", "http://")) and mark in template
        )
        if not usable:
            fix = f'Use for example {key} = "https://…/{mark}".'
            raise values.by_path["links", key].type_error(f"a URL that contains {mark}", fix)
    return Links(**{key: value for key, value in found.items() if value is not None})


def _gather(flags: Mapping[str, Any], env: Mapping[str, str], here: Path) -> _Values:
    path = toml_file.find_file(flags.get("config") or env.get("DOLT_WATCH_CONFIG") or "", env, here)
    given = toml_file.read_file(path, here) if path else []
    sources.check_shape(given)
    rules = _names(given, "rules") or ("agent",)
    targets = _names(given, "targets")
    # The name of a kind needs no table, so variables and flags may set its keys without one.
    every = dict.fromkeys([*targets, *registry.BUILT_IN])
    kind_of = {name: sources.target_kind(name, given, flags.get("set") or ()) for name in every}
    names = {"rules": dict.fromkeys(rules, sources.RULE), "targets": _Keys(kind_of)}
    sources.check_keys(given, names)
    given += sources.from_env(env, names)
    given += sources.from_flags(flags.get("database"), flags.get("set") or (), names)
    return _Values({each.path: each for each in given}, rules, targets, kind_of, here)


class _Keys(Mapping[str, Mapping[str, str]]):
    """A mapping of targets to their keys. The settings of a kind are imported at its first use."""

    def __init__(self, kind_of: Mapping[str, str]) -> None:
        self._kind_of = kind_of

    def __getitem__(self, name: str) -> Mapping[str, str]:
        return registry.setting_types(self._kind_of[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._kind_of)

    def __len__(self) -> int:
        return len(self._kind_of)


def _names(given: Iterable[RawValue], table: str) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            each.path[1] for each in given if each.path[0] == table and len(each.path) > 1
        )
    )


def _value(values: _Values, path: tuple[str, ...], kind: str, origins: dict[str, str]) -> Any:
    """Return the value of a key, or None if it isn't set. Adds its origin."""
    given = values.by_path.get(path)
    origins[".".join(path)] = given.origin if given else "default"
    value = convert(given, kind) if given else None
    return values.here / value if isinstance(value, Path) else value


def _table(
    default: _Table, table: str, keys: Mapping[str, str], values: _Values, origins: dict[str, str]
) -> _Table:
    found = {
        key: _value(values, (table, default.name, key), kind, origins) for key, kind in keys.items()
    }
    return replace(default, **{key: value for key, value in found.items() if value is not None})


def _announced(rule: Rule, target: TargetSettings, values: _Values) -> Rule:
    """Return the rule with the default ``on_unknown`` of its target's kind."""
    if ("rules", rule.name, "on_unknown") in values.by_path or not target.announces:
        return rule
    return replace(rule, on_unknown="retry")


def _targets(
    rules: Iterable[Rule], values: _Values, env: Mapping[str, str], origins: dict[str, str]
) -> dict[str, TargetSettings]:
    used = {rule.target: rule for rule in reversed(list(rules))}
    set_outside = [path[1] for path in values.by_path if path[0] == "targets" and len(path) == 3]
    targets = {}
    for name in dict.fromkeys([*values.targets, *set_outside, *used]):
        if name not in values.kinds:
            key = ("rules", used[name].name, "target")
            fix = f"{suggest(name, values.kinds)} Or define [targets.{name}]."
            raise SettingsError(
                f"There is no target {name!r}.", where=values.by_path[key].where, fix=fix
            )
        kind = values.kinds[name]
        places = {
            path[2]: each.where
            for path, each in values.by_path.items()
            if path[:2] == ("targets", name) and path[2:]
        }
        default = registry.settings_class(kind)(name=name, kind=kind, origins=places)
        target = _table(default, "targets", registry.setting_types(kind), values, origins)
        targets[name] = _with_fallbacks(target, env, origins)
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
            value, origin = env[variable].strip(), variable
        else:
            continue
        change: dict[str, Any] = {key: value, "origins": {**target.origins, key: origin}}
        target = replace(target, **change)
        origins[f"targets.{target.name}.{key}"] = origin
    return target


def _address(
    values: _Values, env: Mapping[str, str], here: Path, origins: dict[str, str]
) -> tuple[ServerAddress | FileAddress, str | None]:
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
        if ":" in url.rpartition("@")[0].partition("//" if "//" in url else ":")[2]:
            # A password that contains / # or ? looks like a port or a path, which the error would
            # contain.
            raise SettingsError(
                "A database URL must not contain a password.",
                where=given.where,
                fix=sources.PASSWORD_FIX,
            ) from None
        raise SettingsError(
            error.message, where=error.where or given.where, fix=error.fix
        ) from None
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
