"""The least privileges: what a watcher's user needs, and nothing that would let it change what it must not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dolt_watch.errors import SettingsError
from dolt_watch.migrate import LOCAL


def grants(database: str, user: str) -> Iterator[str]:
    """GRANT statements for ``name`` or ``name@host``. The ledger may be added to, never changed. Raises SettingsError."""
    name, _, host = user.partition("@")
    if not re.fullmatch(r"[\w.-]+", name) or not re.fullmatch(r"[\w.%:-]*", host):
        raise SettingsError(f"not a user name: {user!r}", where="--print-grants", fix="write name or name@host")
    who = f"'{name}'@'{host or '%'}'"
    on = f"`{database}`"
    yield f"GRANT SELECT ON {on}.* TO {who};"
    yield f"GRANT UPDATE ON {on}.`issues` TO {who};"
    for table in ("events", "watch_decision", "watch_settings"):
        yield f"GRANT INSERT ON {on}.`{table}` TO {who};"
    for table in LOCAL:
        yield f"GRANT INSERT, UPDATE, DELETE ON {on}.`{table}` TO {who};"
    for procedure in ("dolt_add", "dolt_commit"):
        yield f"GRANT EXECUTE ON PROCEDURE {on}.`{procedure}` TO {who};"
