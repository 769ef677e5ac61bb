"""Rules for the source text that reviews would otherwise have to check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dolt_watch

PACKAGE = Path(dolt_watch.__file__).parent


def dataclass_fields(node: ast.ClassDef) -> bool:
    """Return whether the class is a dataclass, whose users may set its attributes."""
    return any("dataclass" in ast.unparse(one) for one in node.decorator_list)


def targets(node: ast.AST) -> Iterator[ast.Attribute]:
    """Yield each attribute that a statement assigns, deletes or adds to."""
    match node:
        case ast.Assign(targets=assigned) | ast.Delete(targets=assigned):
            waiting: list[ast.expr] = list(assigned)
        case ast.AugAssign(target=one) | ast.AnnAssign(target=one):
            waiting = [one]
        case ast.For(target=one) | ast.AsyncFor(target=one):
            waiting = [one]
        case ast.withitem(optional_vars=ast.expr() as one):
            waiting = [one]
        case _:
            return
    while waiting:
        target = waiting.pop()
        if isinstance(target, ast.Tuple | ast.List):
            waiting += target.elts
        elif isinstance(target, ast.Starred):
            waiting.append(target.value)
        elif isinstance(target, ast.Attribute):
            yield target


def own(target: ast.Attribute) -> bool:
    return isinstance(target.value, ast.Name) and target.value.id in ("self", "cls")


def attributes(tree: ast.Module) -> Iterator[str]:
    """Yield the attributes of a module's classes, except dataclasses."""
    for cls in ast.walk(tree):
        if isinstance(cls, ast.ClassDef) and not dataclass_fields(cls):
            for node in ast.walk(cls):
                yield from (target.attr for target in targets(node) if own(target))


def assigned_from_outside(sources: dict[str, str]) -> list[str]:
    """Return the assignments to an attribute of an object outside of the object's own methods.

    An attribute counts if a class other than a dataclass assigns it in a method. Users may fill
    dataclasses, and may set attributes of other libraries' objects. ``setattr`` with a constant
    name counts as an assignment.
    """
    trees = {name: ast.parse(text) for name, text in sources.items()}
    known = {attribute for tree in trees.values() for attribute in attributes(tree)}
    found = []
    for name, tree in trees.items():
        for node in ast.walk(tree):
            places = [(each.attr, each) for each in targets(node) if not own(each)]
            match node:
                case ast.Call(
                    func=ast.Name(id="setattr"), args=[_, ast.Constant(value=str(attr)), _]
                ):
                    places.append((attr, node.func))
            found += [f"{name}:{at.lineno}: {attr}" for attr, at in places if attr in known]
    return found


def test_no_attribute_is_set_from_outside() -> None:
    """An object is complete when it is constructed."""
    sources = {
        str(path.relative_to(PACKAGE.parent)): path.read_text() for path in PACKAGE.rglob("*.py")
    }
    assert len(sources) > 100
    assert assigned_from_outside(sources) == []


PART = "class Part:\n    def __init__(self): self.ready = self.shown = 0\n"


@pytest.mark.parametrize(
    "text",
    [
        "part.ready = 1",
        "part.ready += 1",
        "part.ready: int = 1",
        "a, (part.ready, *part.other) = 1, (2, 3)",
        "here.part.ready = 1",
        "a = part.ready = 1",
        "for part.ready in (1, 2): pass",
        "with open('f') as part.ready: pass",
        "del part.ready",
        "setattr(part, 'ready', 1)",
    ],
)
def test_an_attribute_that_is_set_from_outside_is_found(text: str) -> None:
    assert len(assigned_from_outside({"part": PART, "other": text})) == 1


@pytest.mark.parametrize(
    "text",
    [
        "class Other:\n    def __init__(self): self.ready = 1",
        "part.foreign = 1",
        "ready = 1",
        "part['ready'] = 1",
        "part.ready.append(1)",
    ],
)
def test_other_assignments_are_not(text: str) -> None:
    assert assigned_from_outside({"part": PART, "other": text}) == []


def test_a_record_may_be_filled() -> None:
    record = "@dataclass\nclass Record:\n    count: int = 0\n    def add(self): self.count += 1\n"
    assert assigned_from_outside({"record": record, "other": "record.count += 1"}) == []
