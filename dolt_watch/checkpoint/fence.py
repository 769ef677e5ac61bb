"""The fence: only the worker that advanced it last can write."""

from __future__ import annotations

import uuid

from dolt_watch.engines import Transaction

OTHER_DECIDED = "another worker decided in between"
"""The Conflict of a transaction whose fence another worker has changed."""


def advance_fence(tx: Transaction, held: str | None) -> str:
    """Change the fence, and return its new value.

    Args:
        held: the value that the fence must have; None: any.

    Raises Conflict if another worker has changed the fence.
    """
    sql, token = "UPDATE watch_cursor SET fence = ? WHERE id = 1", uuid.uuid4().hex
    if held is None:
        tx.write(sql, (token,))
    else:
        tx.write(f"{sql} AND fence = ?", (token, held), unmatched=OTHER_DECIDED)
    return token
