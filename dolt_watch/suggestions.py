"""Suggestions for misspelled names."""

from __future__ import annotations

from collections.abc import Iterable


def suggest(word: str, known: Iterable[str]) -> str:
    """Return the fix for an unknown name: the most similar known name, or all known names."""
    import difflib  # Late: only an error needs it.

    names = sorted(known)
    lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return f"Did you mean {lower[close[0]]}?" if close else f"Use one of: {', '.join(names)}."
