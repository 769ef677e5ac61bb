"""The package of records takes each name from its module when the name is first used."""

from __future__ import annotations

import pytest

from dolt_watch.core import model


def test_a_name_that_no_record_has_is_an_error() -> None:
    with pytest.raises(AttributeError, match=r"core\.model' has no attribute 'Answer'"):
        _ = model.Answer


def test_every_name_is_its_modules() -> None:
    for module, names in model._NAMES.items():
        for name in names:
            assert getattr(model, name) is getattr(getattr(model, module), name)
