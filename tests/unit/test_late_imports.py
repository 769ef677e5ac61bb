"""An import inside a function has a comment with its reason.

An idle tick must be cheap, so modules that it doesn't need are imported late. A late import without
a reason hides a dependency or an import cycle.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dolt_watch

PACKAGE = Path(dolt_watch.__file__).parent


def bodies(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """Yield each block of statements inside a function."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                for field in ("body", "orelse", "finalbody"):
                    block = getattr(node, field, None)
                    if isinstance(block, list):
                        yield block


def without_reason(text: str) -> list[int]:
    """Return the lines of late imports without a comment.

    A comment above the first of several imports in a row, or on its line, applies to all.
    """
    lines, found = text.splitlines(), set[int]()
    for block in bodies(ast.parse(text)):
        explained = False
        before: ast.stmt | None = None
        for statement in block:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                first = not isinstance(before, ast.Import | ast.ImportFrom)
                own = lines[statement.lineno - 1 : statement.end_lineno]
                above = lines[statement.lineno - 2].strip()
                commented = above.startswith("#") or any("#" in line for line in own)
                explained = commented or (explained and not first)
                if not explained:
                    found.add(statement.lineno)
            before = statement
    return sorted(found)


def test_each_late_import_has_a_reason() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in without_reason(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("import os\n", []),
        ("def f():\n    import os\n", [2]),
        ("def f():\n    import os  # Late: rare.\n", []),
        ("def f():\n    # Late: rare.\n    import os\n    import re\n", []),
        ("def f():\n    # Late: rare.\n    import os\n    f()\n    import re\n", [5]),
        ("def f():\n    x = 1  # one\n    import os\n", [3]),
        ("def f():\n    if f:\n        from os import path\n", [3]),
        (
            "class A:\n    def f(self):\n        if f:\n            import os\n",
            [4],
        ),
        ("def f():\n    from os import (\n        path,  # Late: rare.\n    )\n", []),
        ("if TYPE_CHECKING:\n    import os\n", []),
    ],
)
def test_the_rule(text: str, lines: list[int]) -> None:
    assert without_reason(text) == lines
