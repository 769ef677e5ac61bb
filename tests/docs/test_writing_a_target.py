"""examples/target imports only stable modules: the SDK and the conformance suite.

docs/writing-a-target.md explains the example, and tests/unit/targets/test_third_party.py tests it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import dolt_watch.testing
from dolt_watch.targets import sdk
from tests.docs.conftest import ROOT

FILES = sorted((ROOT / "examples/target").glob("*.py"))
PUBLIC = {"dolt_watch.targets.sdk": sdk, "dolt_watch.testing": dolt_watch.testing}


def imports(source: str) -> Iterator[tuple[str, str]]:
    """Yield (module, name) for each import from the package. The name of a whole module is ''."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        yield from (pair for pair in found if pair[0].partition(".")[0] == "dolt_watch")


def test_the_example_imports_public_modules_only() -> None:
    used = {pair for file in FILES for pair in imports(file.read_text("utf-8"))}
    assert {module for module, _ in used} == set(PUBLIC)
    assert not {(module, name) for module, name in used if name not in PUBLIC[module].__all__}


def test_the_page_links_to_each_file_of_the_example() -> None:
    page = (ROOT / "docs/writing-a-target.md").read_text("utf-8")
    names = [file.name for file in (ROOT / "examples/target").iterdir() if file.is_file()]
    assert len(names) == 4
    assert [name for name in names if f"(../examples/target/{name})" not in page] == []


def test_every_form_of_import_is_seen() -> None:
    source = "import dolt_watch.errors\nfrom dolt_watch import clock\nimport json\n"
    assert list(imports(source)) == [("dolt_watch.errors", ""), ("dolt_watch", "clock")]


def test_the_sdk_exports_what_it_imports() -> None:
    """A name missing in ``__all__`` would be private. An extra name would break ``import *``."""
    public = {name for name in vars(sdk) if not name.startswith("_")}
    assert public == set(sdk.__all__)
