"""The database server's time."""

from __future__ import annotations

from datetime import datetime

from dolt_watch.engines import Engine
from dolt_watch.timestamps import to_utc


def server_time(engine: Engine) -> datetime:
    """Return the time of the database server, without a poll."""
    moment = to_utc(engine.query("SELECT UTC_TIMESTAMP(6)")[0][0])
    assert moment is not None
    return moment
