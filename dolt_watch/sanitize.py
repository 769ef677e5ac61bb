"""Make text of other programs safe for notes, commit messages and terminals."""

from __future__ import annotations

import unicodedata

LIMIT = 500
"""Maximum number of characters of a text from outside."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Cc: control characters. Cf: bidi overrides and other invisible characters. Cs: lone surrogates,
# which UTF-8 can't encode. Zl, Zp: line and paragraph separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Joiners are invisible too, but emoji and several scripts need them, and they reorder nothing.
_JOINERS = frozenset({"\u200c", "\u200d"})


def sanitize(text: str, limit: int = LIMIT) -> str:
    """Return a text with invisible characters escaped, as one line.

    Escapes are never split. Backslashes aren't escaped, so that JSON stays readable.

    Args:
        text: The text.
        limit: Maximum number of characters. A longer text is cut, and ends with "…".
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


def is_utf8(text: str) -> bool:
    """Return whether UTF-8 can encode a text.

    It can't encode the bytes of another encoding, of which Python makes lone surrogates.
    """
    return not any("\ud800" <= each <= "\udfff" for each in text)


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
