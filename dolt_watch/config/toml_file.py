"""Find and read dolt_watch.toml, with the line of each value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dolt_watch.config.converters import RawValue, exists, expand, read_text
from dolt_watch.errors import SettingsError

FILE = "dolt_watch.toml"
Where = tuple[str, ...]

_DEPTH = {"rules": 3, "targets": 3, "notify": 2, "links": 2}
"""Table → length of the paths of its keys."""


def find_file(named: str, env: Mapping[str, str], cwd: Path) -> Path | None:
    """Return the path of the settings file, or None without one.

    ``named`` is the path from the flag or DOLT_WATCH_CONFIG, or ''. Without it, the first file in a
    folder from ``cwd`` up, or in its ``.beads/``, is used, then the file of the tracker.
    """
    if named:
        variable = "DOLT_WATCH_CONFIG"
        return cwd / expand(named, variable if env.get(variable) == named else "--config")
    folders = [folder for up in (cwd, *cwd.parents) for folder in (up, up / ".beads")]
    if beads := env.get("BEADS_DIR"):
        folders += [(cwd / beads).parent, cwd / beads]
    found = (folder / FILE for folder in folders if exists(folder / FILE))
    return next(found, None) or _beside_the_tracker(env, cwd)


def _beside_the_tracker(env: Mapping[str, str], cwd: Path) -> Path | None:
    """Return the file next to the ``.beads`` folder that a redirect or git worktree leads to."""
    # Late: the folders above usually contain the file.
    from dolt_watch.config.beads_folder import find as tracker

    try:
        folder = tracker(env, cwd).folder
    except SettingsError:
        return None  # The search for the database raises it again, if a URL names none.
    candidates = (folder.parent / FILE, folder / FILE) if folder else ()
    return next((path for path in candidates if exists(path)), None)


def read_file(path: Path, cwd: Path) -> list[RawValue]:
    """Return the values in a settings file, in its order. Short names of it start at ``cwd``.

    Raises:
        SettingsError: The file can't be read, or isn't TOML.
    """
    # Late: many ticks have no settings file.
    import tomllib

    from dolt_watch.config.toml_positions import line_numbers

    unreadable = "Specify the path of a readable file with --config."
    text = read_text(path, "the settings file", unreadable=unreadable)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+)", str(error))
        # "at end of document" names no line: the last line is unfinished.
        line = int(at[1]) if at else max(1, len(text.splitlines()))
        fix = 'Write lines such as `key = "text"`, `key = true` or `[rules.NAME]`.'
        problem = f"The file is not TOML: {error}."
        raise SettingsError(problem, where=f"{path}:{line}", fix=fix) from None
    except RecursionError:
        problem = "The file is not TOML: it is nested too deeply."
        fix = "Remove the nested brackets."
        raise SettingsError(problem, where=str(path), fix=fix) from None
    lines = line_numbers(text)
    short = path.relative_to(cwd).as_posix() if path.is_relative_to(cwd) else path.name
    folder = path.absolute().parent
    found: list[RawValue] = []
    for leaf, value in _leaves(tree):
        # The keys of an inline table are on the line of the table.
        line = next((lines[leaf[:n]] for n in range(len(leaf), 0, -1) if leaf[:n] in lines), 1)
        origin, where = f"{short}:{line}", f"{path}:{line}"
        found.append(RawValue(leaf, value, origin, where, typed=True, folder=folder))
    return found


def _leaves(tree: dict[str, Any], at: Where = ()) -> Iterator[tuple[Where, Any]]:
    """Yield each value with its path.

    Tables in rules, targets and notify are expanded. An empty table is a value too:
    ``[rules.agent]`` alone defines a rule.
    """
    for key, value in tree.items():
        path = (*at, key)
        expanded = len(path) < _DEPTH.get(path[0], 0)
        if expanded and isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path, value
