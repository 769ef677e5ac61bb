"""The database: one protocol, two engines."""

from dolt_watch.engines.protocol import (
    WORKING,
    Changed,
    Commit,
    Edge,
    Engine,
    Leader,
    Param,
    Row,
    Transaction,
)

__all__ = [
    "WORKING",
    "Changed",
    "Commit",
    "Edge",
    "Engine",
    "Leader",
    "Param",
    "Row",
    "Transaction",
]
