"""Cases that differ only by the engine: all on Dolt, some on DoltLite, the rest in the long
profiles.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import pytest


def on_engines(cases: Sequence[Any], doltlite: Collection[str]) -> list[Any]:
    """Parameters (engine, case) for each case on each engine.

    Args: doltlite: The cases, as text, that `make test` runs on DoltLite too. `make faults` runs
        the others.
    """
    names = {str(case) for case in cases}
    assert names >= set(doltlite), f"no such case: {set(doltlite) - names}"
    return [
        pytest.param(
            engine,
            case,
            id=f"{engine}-{case}",
            marks=[pytest.mark.slow] if engine == "doltlite" and str(case) not in doltlite else [],
        )
        for engine in ("dolt", "doltlite")
        for case in cases
    ]
