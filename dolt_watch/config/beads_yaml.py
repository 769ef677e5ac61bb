"""Read the ``dolt`` settings of bd's ``config.yaml``: ``dolt.port``, ``dolt.host`` and so on.

bd writes them as ``dolt.port: 3309`` or as a block below ``dolt:``, and few files contain any. No
YAML library is used, because each idle tick would have to import it. Everything outside these keys
is skipped. A form that this reader doesn't support is an error with its line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from dolt_watch.config.converters import read_text
from dolt_watch.errors import SettingsError

# Patterns are compiled only if a file contains such a key.
_KEY = r"""(?P<q>["']?)(?P<key>[\w.-]+)(?P=q)\s*:(?:\s+(?P<value>.*))?"""
_PLAIN = r"""(?P<plain>[^\s"'\[{&*!|>%@`,#](?:[^#]|(?<=\S)\#)*)?"""
_SCALAR = rf"""(?:"(?P<double>[^"\\]*)"|'(?P<single>[^']*)'|{_PLAIN})\s*(?:\#.*)?"""
_FLOW = r"\{(?P<inner>[^{}\[\]]*)\}\s*(?:#.*)?"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
# In the first column, these begin list items, ends of brackets and directives, but no keys.
_SKIPPED = ("- ", "-\t", "}", "]", "%")


class Entry(NamedTuple):
    """A value as text, and its line."""

    value: str
    line: int
    flat: bool = False
    """Whether it is written ``dolt.NAME: value``. bd prefers that form, even in a file with less
    precedence.
    """


def read(path: Path) -> dict[str, Entry]:
    """Return the non-empty values below ``dolt``, by their names in lower case.

    Raises:
        SettingsError: The file can't be read, isn't UTF-8, or is malformed.
    """
    fix = f"Make it a readable file: `chmod u+r {path}`."
    text = read_text(path, path.name, unreadable=fix)
    if not any("dolt" in line.partition("#")[0].lower() for line in text.splitlines()):
        return {}
    return _Reader(path).read(text)


class _Reader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Entry] = {}
        self.section = ""
        """The top-level key that the indented lines belong to, in lower case."""
        self.indent = 0
        """Columns before a key below ``dolt``, or 0 before the first key."""
        self.nested = False
        """Whether the last key below ``dolt`` has a nested value, to which deeper lines belong."""

    def read(self, text: str) -> dict[str, Entry]:
        begun = False
        for number, raw in enumerate(text.splitlines(), start=1):
            if not raw.strip() or raw.lstrip().startswith("#"):
                continue
            if re.fullmatch(r"(---|\.\.\.)(\s.*)?", raw):
                if begun:
                    break  # bd reads only the first document.
                continue
            begun = begun or not raw.startswith("%")
            if raw[0] in " \t":
                self._below(raw, number)
            else:
                self._top(raw.rstrip(), number)
        return {name: entry for name, entry in self.found.items() if entry.value}

    def _top(self, line: str, number: int) -> None:
        if line == "-" or line.startswith(_SKIPPED):
            if self.section == "dolt":
                raise self._wrong("'dolt' is a list", number)
            return
        self.section, value = self._parts(line, number)
        self.indent, self.nested = 0, False
        if self.section.startswith("dolt."):
            self._add(self.section.removeprefix("dolt."), value, number, flat=True)
        elif self.section == "dolt" and value and not value.startswith("#"):
            flow = re.fullmatch(_FLOW, value)
            if flow is None:
                raise self._wrong("'dolt' is not a block of 'KEY: value'", number)
            for part in flow["inner"].split(","):
                if part.strip():
                    self._pair(part.strip(), number)

    def _below(self, raw: str, number: int) -> None:
        if self.section != "dolt":
            return
        line = raw.lstrip(" ")
        indent = len(raw) - len(line)
        if line.startswith("\t"):
            raise self._wrong("a tab is used as indentation", number)
        self.indent = self.indent or indent
        if indent > self.indent and self.nested:
            return
        if indent != self.indent:
            raise self._wrong("the indentation is uneven", number)
        self._pair(line.rstrip(), number)

    def _pair(self, text: str, number: int) -> None:
        name, value = self._parts(text, number)
        self.nested = not value or value[0] in "#[{|>&"
        if not self.nested:
            self._add(name, value, number)

    def _parts(self, text: str, number: int) -> tuple[str, str]:
        match = re.fullmatch(_KEY, text)
        if match is None:
            raise self._wrong("a line is not 'KEY: value'", number)
        return match["key"].lower(), match["value"] or ""

    def _add(self, name: str, text: str, number: int, flat: bool = False) -> None:
        match = re.fullmatch(_SCALAR, text.strip())
        if match is None:
            raise self._wrong(f"the value of dolt.{name} has an unsupported form", number)
        before = self.found.get(name)
        if before is not None and before.flat == flat:
            raise self._wrong(f"dolt.{name} is set twice", number)
        plain = (match["plain"] or "").rstrip()
        value = match["double"] or match["single"] or ("" if plain in _NULL else plain)
        if before is None or flat:
            self.found[name] = Entry(value, number, flat)

    def _wrong(self, what: str, number: int) -> SettingsError:
        return SettingsError(
            f"Can't read {self.path.name} as YAML: {what}.",
            where=f"{self.path}:{number}",
            fix="Write `dolt.port: 3307`, or `dolt:` with indented lines below it.",
        )
