"""Read ``.beads/.env``, the variables that bd sets for one project.

The format is that of bd's reader (github.com/subosito/gotenv): ``KEY=value`` or ``KEY: value``,
an optional ``export``, comments, quotes, and ``$NAME`` or ``${NAME}`` of an earlier line. A
variable of the real environment always wins.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from dolt_watch.config.converters import read_text
from dolt_watch.errors import SettingsError

_LINE = re.compile(
    r"""(?:export\s+)?(?P<key>[A-Za-z_][\w.]*)\s*(?:=|:\s)\s*
    (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s#"'](?:[^#]|(?<=\S)\#)*)?)
    \s*(?:\#.*)?""",
    re.VERBOSE,
)
_NAME = re.compile(r"(\\)?\$(?:\{(\w+)\}|(\w+))")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


class Entry(NamedTuple):
    """A value and its line."""

    value: str
    line: int


def read(path: Path) -> dict[str, Entry]:
    """Return the variables of the file.

    Raises:
        SettingsError: The file can't be read, isn't UTF-8, or contains a line that isn't an
            assignment. The message never contains a line, which may be a password.
    """
    fix = f"Make the file readable: `chmod u+r {path}`."
    text = read_text(path, path.name, unreadable=fix)
    found: dict[str, Entry] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise SettingsError(
                f"A line of {path.name} is not KEY=value.",
                where=f"{path}:{number}",
                fix="Write KEY=value, with quotes around a value that contains a blank or a #.",
            )
        found[match["key"]] = Entry(_value(match, found), number)
    return found


def _value(match: re.Match[str], before: dict[str, Entry]) -> str:
    if match["single"] is not None:
        return match["single"]

    def named(name: re.Match[str]) -> str:
        if name[1]:
            return name[0][1:]
        entry = before.get(name[2] or name[3])
        return entry.value if entry else ""

    if match["double"] is not None:
        text = re.sub(r"\\([nrt])", lambda each: _ESCAPED[each[1]], match["double"])
        text = _NAME.sub(named, text)
        return re.sub(r"\\([\"\\])", r"\1", text)
    return _NAME.sub(named, (match["plain"] or "").rstrip())
