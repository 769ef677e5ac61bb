"""docs/writing-a-target.md imports only what stays: the SDK and the conformance suite.

That the target of the page works is tested by tests/unit/targets/test_third_party.py.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import dolt_watch.testing
from dolt_watch.targets import sdk
from tests.docs.conftest import ROOT

PAGE = (ROOT / "docs/writing-a-target.md").read_text("utf-8")
PUBLIC = {"dolt_watch.targets.sdk": sdk, "dolt_watch.testing": dolt_watch.testing}


def imports(page: str) -> Iterator[tuple[str, str]]:
    """(module, name) for each import of the package in the page's Python blocks; name '' for all
    of the module.
    """
    for block in re.findall(r"```python[^\n]*\n(.*?)```", page, re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import):
                found = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [(node.module or "", alias.name) for alias in node.names]
            else:
                continue
            yield from (pair for pair in found if pair[0].partition(".")[0] == "dolt_watch")


def test_the_page_imports_public_modules_only() -> None:
    used = set(imports(PAGE))
    assert {module for module, _ in used} == set(PUBLIC)
    assert not {(module, name) for module, name in used if name not in PUBLIC[module].__all__}


def test_every_form_of_import_is_seen() -> None:
    page = "```python\nimport dolt_watch.errors\nfrom dolt_watch import clock\nimport json\n```\n"
    assert list(imports(page)) == [("dolt_watch.errors", ""), ("dolt_watch", "clock")]


def test_the_sdk_exports_what_it_imports() -> None:
    """A name that is missing in ``__all__`` would be private; one too many would break ``import
    *``.
    """
    public = {name for name in vars(sdk) if not name.startswith("_")}
    assert public | set(sdk._TEMPLATES) == set(sdk.__all__)
