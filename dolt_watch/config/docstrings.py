"""Docstrings of attributes, which Python doesn't keep: read from the source of a class."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from itertools import pairwise


def attributes(owner: type) -> dict[str, str]:
    """Return the docstring below each attribute of a class and of its bases, as one line.

    A class whose source isn't installed has none.
    """
    found: dict[str, str] = {}
    for cls in reversed(owner.__mro__):
        if cls.__module__ in ("builtins", "typing", "enum"):
            continue
        try:
            source = inspect.getsource(cls)
        except (OSError, TypeError):
            continue
        (tree,) = ast.parse(textwrap.dedent(source)).body
        assert isinstance(tree, ast.ClassDef)
        for line, below in pairwise(tree.body):
            name = _name(line)
            if name and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[name] = flat(str(below.value.value))
    return found


def flat(text: str | None) -> str:
    """Return a docstring as one line of Markdown."""
    return re.sub(r"\s+", " ", text or "").strip().replace("``", "`")


def _name(line: ast.stmt) -> str:
    (target, *_) = getattr(line, "targets", None) or [getattr(line, "target", None)]
    return target.id if isinstance(target, ast.Name) else ""
