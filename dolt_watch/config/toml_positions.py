"""Find the line of each key in a TOML file.

A separate module, because compiling its patterns would slow down ticks without a settings file.
"""

from __future__ import annotations

import re

Where = tuple[str, ...]

_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]")
_KEY = re.compile(
    r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=(.*)""", re.DOTALL
)
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
# Tokens in a value that may contain "=" or "[": a multi-line string, a string, a comment.
_TOKEN = re.compile(r""""{3}|'{3}|"(?:\\.|[^"\\])*"|'[^']*'|#""")
# Up to two quotes may directly precede the closing three.
_CLOSING = {'"""': re.compile(r'(?:\\.|[^\\])*?"{3,5}'), "'''": re.compile(r".*?'{3,5}")}


def line_numbers(text: str) -> dict[Where, int]:
    """Return the number of the first line of each path.

    tomllib reports no positions. The result is correct for files that tomllib accepted.
    """
    found: dict[Where, int] = {}
    table: Where = ()
    quote = ""
    for number, line in enumerate(text.split("\n"), 1):
        if quote:
            # A multi-line string contains no keys.
            quote = _open(line, quote)
            continue
        if header := _HEADER.match(line):
            table = _parts(header.group(1))
            _note(found, table, number)
            continue
        if key := _KEY.match(line):
            _note(found, (*table, *_parts(key.group(1))), number)
            quote = _open(key.group(2))
    return found


def _open(text: str, quote: str = "") -> str:
    """Return the quote of the multi-line string that is open at the end of a line, or ''.

    Args:
        text: The line, or the rest of it.
        quote: Quote of the multi-line string that is open at its beginning, or ''.
    """
    at = 0
    while True:
        if quote:
            closing = _CLOSING[quote].match(text, at)
            if not closing:
                return quote
            at = closing.end()
        token = _TOKEN.search(text, at)
        if not token or token.group() == "#":
            return ""
        at, quote = token.end(), token.group() if token.group() in _CLOSING else ""


def _note(found: dict[Where, int], path: Where, number: int) -> None:
    """Add a path and its parents: ``[rules.agent]`` is the first line of "rules" too."""
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], number)


def _parts(dotted: str) -> Where:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
