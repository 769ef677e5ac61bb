"""Text that others wrote, made safe to print in a note, a commit message or a terminal."""

from __future__ import annotations

import unicodedata

LIMIT = 500
"""Bodies from outside are cut to so many characters."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Cc: control; Cf: bidi overrides and what else is invisible; Cs: lone surrogates, which no UTF-8
# can hold; Zl, Zp: line breaks by another name.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Joiners are invisible too, but emoji and several scripts cannot be written without them, and
# they reorder nothing.
_JOINERS = frozenset({"\u200c", "\u200d"})


def sanitize(text: str, limit: int = LIMIT) -> str:
    """``text`` with what cannot be seen shown escaped, in at most ``limit`` characters: what is
    cut off is told by '…'.

    An escape is never cut in two. A backslash stays as it is, so that JSON reads as it was
    received.
    """
    if limit < 1:
        return ""
    if len(text) <= limit and text.isprintable():
        return text
    pieces: list[str] = []
    length = 0
    for character in text:
        piece = _visible(character)
        pieces.append(piece)
        length += len(piece)
        if length > limit:
            return _cut(pieces, length, limit)
    return "".join(pieces)


def _cut(pieces: list[str], length: int, limit: int) -> str:
    while length > limit - 1:
        length -= len(pieces.pop())
    return "".join(pieces) + "…"


def _visible(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if character in _SHORT:
        return _SHORT[character]
    if unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
