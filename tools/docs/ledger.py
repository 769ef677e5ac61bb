"""docs/reference/ledger.md, from the comments of the migrations and the kinds of entries."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dolt_watch.core.decisions.recorded_inputs import record_inputs
from dolt_watch.core.model import REPORTS, EntryEffects, EntryKind, Phase
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.ledger.schema import local_sql, migrations
from tools.docs.reading import GENERATED, attributes, code, flat, table

INTRO = """# The ledger

dolt_watch adds its own tables to the tracker's database, and changes no tables of bd. In bd's
tables, it writes the same cells as `bd`: `status`, `notes`, `started_at` and `updated_at` of
`issues`, and rows of `events`. Each entry of the ledger is one Dolt commit by `dolt-watch`. The
trailers of the commit contain the entry in short form:

```sh
dolt_watch log --bead bd-12 --format json
bd sql "SELECT commit_hash, message FROM dolt_log WHERE committer = 'dolt-watch' LIMIT 5"
```

Times are in UTC. You may read the tables, but don't write to them.
"""
COMMITTED = """## Tables in history

These tables are committed, pushed and pulled with the tracker. `watch_decision` is append-only.
Its primary key, (`bead_id`, `version`), makes claims exclusive.
"""
LOCAL = """## Local tables

Rows in `dolt_ignore` exclude these tables from history. They exist on one server and one branch. A
clone lacks them, and `dolt_watch init` creates them again. Their content is rebuilt from history,
except for claims whose worker died before the end of its tick.
"""
KINDS = """## Kinds of entries

If a *decision* conflicts with an entry of another worker, it is discarded, and dolt_watch decides
again. An *outcome* records something that happened outside the database, and is retried until it
is appended.
"""

REASONS = """## `detail.reason_code`

The code of `reason`. Programs can rely on the code, but the text of `reason` may change between
releases. Entries of early versions have no code; it is derived from their text
(`dolt_watch/core/model/reason_codes.py`). Entries of the kinds `claim` and `dispatched` have no
reason.
"""


def page() -> str:
    parts = [
        GENERATED.format(source="`migrations/` and `dolt_watch/core/model/entry_kinds.py`"),
        INTRO,
        COMMITTED,
    ]
    for migration in migrations():
        parts += _tables(migration.sql)
    parts += [LOCAL, *_tables(local_sql())]
    means = attributes(EntryKind)
    assert set(means) == {kind.name for kind in EntryKind}, (
        f"no docstring: { ({kind.name for kind in EntryKind} - set(means)) }"
    )
    rows = (
        (code(kind.value), "outcome" if kind in REPORTS else "decision", means[kind.name])
        for kind in EntryKind
    )
    parts += [KINDS, table(("kind", "type", "meaning"), rows)]
    parts += [
        "## Phases of a bead\n",
        table(
            ("phase", "meaning"),
            ((code(phase.value), attributes(Phase)[phase.name]) for phase in Phase),
        ),
    ]
    parts += [REASONS, table(("code", "meaning"), _codes())]
    parts += ["## `detail.given`\n", *_given()]
    parts += ["## `detail.wrote`\n", flat(EntryEffects.__doc__) + "\n"]
    return "\n".join(parts)


def _codes() -> Iterator[tuple[str, str]]:
    means = attributes(ReasonCode)
    for one in ReasonCode:
        yield code(one.value), means[one.name]


def _tables(sql: str) -> Iterator[str]:
    for name, body in re.findall(
        r"CREATE TABLE IF NOT EXISTS (\w+) \(\n(.*?)\n\);", sql, re.DOTALL
    ):
        rows = []
        for line in body.splitlines():
            column = re.fullmatch(r"\s+(\w+) (\w+(?:\(\d+\))?)[^-]*?,?(?:\s+-- (.*))?", line)
            if column and column[1] != "PRIMARY":
                assert column[3], f"{name}.{column[1]} has no comment"
                rows.append((code(column[1]), column[2], column[3]))
        yield f"### `{name}`\n"
        yield table(("column", "type", "meaning"), rows)


def _given() -> Iterator[str]:
    first, *_ = re.split(r"\n\s*\n", record_inputs.__doc__ or "", maxsplit=1)
    yield flat(first) + "\n"
    terms = re.findall(
        r"^ *- ``(\w+)``: (.*(?:\n +(?!- )\S.*)*)$", record_inputs.__doc__ or "", re.MULTILINE
    )
    assert terms
    yield table(("key", "meaning"), ((code(key), flat(text)) for key, text in terms))
