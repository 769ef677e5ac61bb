"""Cases on one engine each. `make matrix` and the long profiles run them on the other engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest


def on_engines(cases: Sequence[Any], doltlite: Collection[str]) -> list[Any]:
    """Return parameters (engine, case) for each case on each engine.

    Args:
        doltlite: The cases, as text, that `make test` runs on DoltLite and `make matrix` on Dolt.
            `make test` runs the others on Dolt, and `make faults` runs them on DoltLite.
    """
    names = {str(case) for case in cases}
    assert names >= set(doltlite), f"no such case: {set(doltlite) - names}"
    return [
        pytest.param(
            engine,
            case,
            id=f"{engine}-{case}",
            marks=_marks(engine, str(case) in doltlite),
        )
        for engine in ("dolt", "doltlite")
        for case in cases
    ]


def _marks(engine: str, on_doltlite: bool) -> list[pytest.MarkDecorator]:
    if engine == "dolt":
        return [pytest.mark.matrix] if on_doltlite else []
    return [] if on_doltlite else [pytest.mark.slow]
