"""dolt_watch.toml: where it is, what it says, and in which line it says it."""

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
    """``named`` by flag or DOLT_WATCH_CONFIG; else the first one walking up from ``cwd``, beside
    ``.beads/`` or in it.
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
    """Return the file beside the ``.beads`` folder that a redirect or a git worktree leads to."""
    from dolt_watch.config.beads_folder import find as tracker

    try:
        folder = tracker(env, cwd).folder
    except SettingsError:
        return None  # raised again where the database is looked for, unless that is named outright
    candidates = (folder.parent / FILE, folder / FILE) if folder else ()
    return next((path for path in candidates if exists(path)), None)


def read_file(path: Path, cwd: Path) -> list[RawValue]:
    """Everything that the file gives, leaf by leaf, in its order.

    Raises:
        SettingsError: unreadable, not TOML (with the line).
    """
    import tomllib

    from dolt_watch.config.toml_positions import line_numbers

    text = read_text(path, "the settings file", unreadable="give its path with --config")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+)", str(error))
        # 'at end of document' names no line: it is the last one that is unfinished.
        line = int(found.group(1)) if found else max(1, len(text.splitlines()))
        raise SettingsError(
            f"not TOML: {error}",
            where=f"{path}:{line}",
            fix='a line is key = "text", key = true, or [rules.NAME]',
        ) from None
    except RecursionError:
        raise SettingsError(
            "not TOML: nested too deeply", where=str(path), fix="take out the nested brackets"
        ) from None
    lines = line_numbers(text)
    short = path.relative_to(cwd).as_posix() if path.is_relative_to(cwd) else path.name
    return [_given(leaf, value, lines, path, short) for leaf, value in _leaves(tree)]


def _given(leaf: Where, value: Any, lines: dict[Where, int], path: Path, short: str) -> RawValue:
    # An inline table has its keys on the line of the table.
    line = next((lines[leaf[:n]] for n in range(len(leaf), 0, -1) if leaf[:n] in lines), 1)
    return RawValue(
        leaf, value, f"{short}:{line}", f"{path}:{line}", typed=True, folder=path.absolute().parent
    )


def _leaves(tree: dict[str, Any], at: Where = ()) -> Iterator[tuple[Where, Any]]:
    """Tables below rules and targets are opened; an empty one counts too, since
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
