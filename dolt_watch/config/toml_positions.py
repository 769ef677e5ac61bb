"""In which line of a TOML file each key stands.

By itself, as its patterns cost more to compile than a tick without a file may.
"""

from __future__ import annotations

import re

Where = tuple[str, ...]

_HEADER = re.compile(r"\s*\[\[?([^\[\]]+)\]")
_KEY = re.compile(
    r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=(.*)""", re.DOTALL
)
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
# What may open in the value of a key: a text of several lines, a text, a comment.
_TOKEN = re.compile(r""""{3}|'{3}|"(?:\\.|[^"\\])*"|'[^']*'|#""")
# Up to two quotes may stand right before the closing three.
_CLOSING = {'"""': re.compile(r'(?:\\.|[^\\])*?"{3,5}'), "'''": re.compile(r".*?'{3,5}")}


def line_numbers(text: str) -> dict[Where, int]:
    """Path → number of its first line. tomllib tells no positions; this needs only be right for
    files that it accepted.
    """
    found: dict[Where, int] = {}
    table: Where = ()
    quote = ""
    for number, line in enumerate(text.split("\n"), 1):
        if quote:
            # Inside a text of several lines nothing is a key.
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
    """The quote of a text of several lines that is open where ``text`` ends; ``quote``: the one
    open where it begins.
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
    """``[rules.agent]`` is the first line of rules too."""
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], number)


def _parts(dotted: str) -> Where:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))
