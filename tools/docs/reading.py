"""Parts of the reference pages: docstrings, and tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dolt_watch.config.docstrings import attributes, flat

__all__ = ["GENERATED", "attributes", "code", "flat", "table"]

GENERATED = "<!-- Generated from {source} by `make docs`. Edit the source, not this page. -->\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in row)} |\n" for row in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ") or " "


def code(text: str) -> str:
    return f"`{text}`" if text else ""
