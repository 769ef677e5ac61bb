"""The fence: only the worker that advanced it last can write."""

from __future__ import annotations

import uuid

from dolt_watch.engines import Transaction
from dolt_watch.errors import Conflict


def advance_fence(tx: Transaction, held: str | None) -> None:
    """Change the fence.

    Args:
        held: the value that the fence must have; None: any.

    Raises:
        Conflict: another worker has changed the fence.
    """
    sql, token = "UPDATE watch_cursor SET fence = ? WHERE id = 1", uuid.uuid4().hex
    if held is None:
        tx.execute(sql, (token,))
    elif not tx.execute(f"{sql} AND fence = ?", (token, held)):
        raise Conflict("another worker decided in between")
