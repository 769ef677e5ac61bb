"""What a newer bd does to an older tracker at its first command."""

from __future__ import annotations

from typing import Any

from tests.standin.dialect import Dialect
from tests.standin.tracker import Refused


def upgrade(connection: Any, before: Dialect, after: Dialect) -> None:
    raise Refused(f"no upgrade from {before.name} to {after.name} is offered")
