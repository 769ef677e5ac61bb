"""Find and read dolt_watch.toml, with the line of each value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dolt_watch.config.converters import RawValue, exists, read_text
from dolt_watch.errors import SettingsError

FILE = "dolt_watch.toml"
Where = tuple[str, ...]

_DEEPEST = 3


def find_file(named: str, env: Mapping[str, str], cwd: Path) -> Path | None:
    """Return the path of the settings file, or None without one.

    Args:
        named: Path from the flag or DOLT_WATCH_CONFIG, or ''. Without it, the first file in a
            folder from ``cwd`` up, or in its ``.beads/``, is used, then the file of the tracker.
        env: The environment.
        cwd: Folder that the search begins in.
    """
    if named:
        return cwd / Path(named).expanduser()
    beads = [cwd / env["BEADS_DIR"]] if env.get("BEADS_DIR") else []
    for folder in [
        *(f for up in (cwd, *cwd.parents) for f in (up, up / ".beads")),
        *(b.parent for b in beads),
        *beads,
    ]:
        if exists(folder / FILE):
            return folder / FILE
    return _beside_the_tracker(env, cwd)


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
    """Return the values in a settings file, in its order.

    Args:
        path: Path of the file.
        cwd: Working directory, for short names of the file.

    Raises:
        SettingsError: The file can't be read, or isn't TOML.
    """
    # Late: many ticks have no settings file.
    import tomllib

    from dolt_watch.config.toml_positions import line_numbers

    text = read_text(
        path, "the settings file", unreadable="Specify the path of a readable file with --config."
    )
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        # "at end of document" names no line: the last line is unfinished.
        line = int(found.group(1)) if found else max(1, len(text.splitlines()))
        raise SettingsError(
            f"The file is not TOML: {error}.",
            where=f"{path}:{line}",
            fix='Write lines such as `key = "text"`, `key = true` or `[rules.NAME]`.',
        ) from None
    except RecursionError:
        raise SettingsError(
            "The file is not TOML: it is nested too deeply.",
            where=str(path),
            fix="Remove the nested brackets.",
        ) from None
    lines = line_numbers(text)
    short = path.relative_to(cwd).as_posix() if path.is_relative_to(cwd) else path.name
    return [_given(leaf, value, lines, path, short) for leaf, value in _leaves(tree)]


def _given(leaf: Where, value: Any, lines: dict[Where, int], path: Path, short: str) -> RawValue:
    # The keys of an inline table are on the line of the table.
    line = next((lines[leaf[:n]] for n in range(len(leaf), 0, -1) if leaf[:n] in lines), 1)
    return RawValue(
        leaf, value, f"{short}:{line}", f"{path}:{line}", typed=True, folder=path.absolute().parent
    )


def _leaves(tree: dict[str, Any], at: Where = ()) -> Iterator[tuple[Where, Any]]:
    """Yield each value with its path.

    Tables in rules, targets and notify are expanded. An empty table is a value too:
    ``[rules.agent]`` alone defines a rule.
    """
    for key, value in tree.items():
        path = (*at, key)
        if (
            isinstance(value, dict)
            and value
            and path[0] in ("rules", "targets", "notify", "links")
            and len(path) < _DEEPEST
        ):
            yield from _leaves(value, path)
        else:
            yield path, value
