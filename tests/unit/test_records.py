"""The construction of records in the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "dolt_watch"
FIELDS, POSITIONAL = 6, 4
"""A record with more fields than FIELDS has at most POSITIONAL positional arguments."""


def _fields(tree: ast.Module) -> dict[str, int]:
    """Return the number of fields of each named tuple and dataclass in a module."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and _record(node):
            found[node.name] = sum(isinstance(line, ast.AnnAssign) for line in node.body)
    return found


def _record(node: ast.ClassDef) -> bool:
    named = any(ast.unparse(base) == "NamedTuple" for base in node.bases)
    return named or any("dataclass" in ast.unparse(one) for one in node.decorator_list)


def _positional(trees: dict[Path, ast.Module]) -> Iterator[str]:
    everywhere = {name: count for tree in trees.values() for name, count in _fields(tree).items()}
    for path, tree in trees.items():
        # A module's own class hides another class of the same name.
        fields = everywhere | _fields(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and len(node.args) > POSITIONAL:
                name = ast.unparse(node.func).rpartition(".")[2]
                starred = any(isinstance(one, ast.Starred) for one in node.args)
                if fields.get(name, 0) > FIELDS and not starred:
                    yield f"{path.name}:{node.lineno}: {name}"


def test_a_record_of_many_fields_is_built_with_keywords() -> None:
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    assert list(_positional(trees)) == []


def test_the_check_finds_a_record_that_is_built_positionally() -> None:
    model = PACKAGE / "core/model/ledger_entry.py"
    trees = {
        model: ast.parse(model.read_text("utf-8")),
        Path("x.py"): ast.parse("\nLedgerEntry(a, b, c, d, e)"),
    }
    assert list(_positional(trees)) == ["x.py:2: LedgerEntry"]
