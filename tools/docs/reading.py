"""What the code says of itself: docstrings of classes and of their attributes, which Python does
not keep; and tables in Markdown.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence

GENERATED = "<!-- Made by `make docs` from {source}: edit that, not this. -->\n"


def attributes(owner: type) -> dict[str, str]:
    """Attribute → the docstring below it, of the class and of those that it inherits from."""
    found: dict[str, str] = {}
    for cls in reversed(owner.__mro__):
        if not cls.__module__.startswith("dolt_watch"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(tree, ast.ClassDef)
        for line, below in zip(tree.body, [*tree.body[1:], None], strict=True):
            name = _name(line)
            if name and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[name] = flat(str(below.value.value))
    return found


def _name(line: ast.stmt) -> str:
    target = (
        line.target
        if isinstance(line, ast.AnnAssign)
        else line.targets[0]
        if isinstance(line, ast.Assign)
        else None
    )
    return target.id if isinstance(target, ast.Name) else ""


def flat(text: str | None) -> str:
    """A docstring as one paragraph of Markdown."""
    return re.sub(r"\s+", " ", text or "").strip().replace("``", "`")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in row)} |\n" for row in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ") or " "


def code(text: str) -> str:
    return f"`{text}`" if text else ""
