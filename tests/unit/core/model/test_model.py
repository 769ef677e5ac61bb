"""The package of records imports each name when the name is first used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from dolt_watch.core import model


@pytest.mark.parametrize("name", sorted(model._MODULE_OF))
def test_each_name_is_that_of_its_module(name: str) -> None:
    module = import_module(f"dolt_watch.core.model.{model._MODULE_OF[name]}")
    assert getattr(model, name) is getattr(module, name)


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Bread'"):
        model.Bread  # noqa: B018


def test_one_name_imports_its_module_alone() -> None:
    code = (
        "import sys, dolt_watch.core.model as model; model.EMPTY;"
        "print(*(name for name in sys.modules if name.startswith('dolt_watch.core.model.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == [
        "dolt_watch.core.model.bead",
        "dolt_watch.core.model.reason_codes",
    ]
