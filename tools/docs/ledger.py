"""docs/reference/ledger.md, from the comments of the migrations and the kinds of entries."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dolt_watch.core.model import REPORTS, EntryEffects, EntryKind, Phase
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.model.recorded_inputs import RecordedInputs
from dolt_watch.ledger.schema import local_sql, migrations
from tools.docs.reading import GENERATED, attributes, code, flat, table

INTRO = """# The ledger

dolt_watch adds tables of its own to the tracker's database, and changes no table of bd. Like `bd`
itself, it sets `status`, `notes`, `started_at` and `updated_at` in rows of `issues`, and adds rows
to `events`. Each entry of the ledger is one Dolt commit by `dolt-watch`. Its trailers summarize the
entry:

```sh
dolt_watch log --bead bd-12 --format json
bd sql "SELECT commit_hash, message FROM dolt_log WHERE committer = 'dolt-watch' LIMIT 5"
```

Times are UTC. You can read the tables with SQL. Don't write to them.
"""
COMMITTED = """## Tables that enter history

They are committed, pushed and pulled with the tracker. `watch_decision` is append-only. Its
primary key, (`bead_id`, `version`), makes a claim exclusive.
"""
LOCAL = """## Tables that never enter history

Rows of `dolt_ignore` exclude them. They are on one server and one branch. A clone lacks them, and
`dolt_watch init` makes them. Their content is rebuilt from history, except for claims whose worker
died before the end of its tick.
"""
KINDS = """## Kinds of entries

A *decision* that conflicts with another worker's decision is discarded and planned again. A
*report* (an outcome entry) records what happened outside. It is appended again until it is in
history.
"""

REASONS = """## `detail.reason_code`

The code of `reason`, for programs. The text of `reason` may change with each release. Entries of
early releases have no code; it follows from their text
(`dolt_watch/core/model/reason_codes.py`). `claim` and `dispatched` have no reason.
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
        f"without a docstring: { ({kind.name for kind in EntryKind} - set(means)) }"
    )
    rows = (
        (code(kind.value), "report" if kind in REPORTS else "decision", means[kind.name])
        for kind in EntryKind
    )
    parts += [KINDS, table(("kind", "is a", "means"), rows)]
    parts += [
        "## Phases of a bead\n",
        table(
            ("phase", "means"),
            ((code(phase.value), attributes(Phase)[phase.name]) for phase in Phase),
        ),
    ]
    parts += [REASONS, table(("code", "means"), _codes())]
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
                assert column[3], f"{name}.{column[1]} does not say what it means"
                rows.append((code(column[1]), column[2], column[3]))
        yield f"### `{name}`\n"
        yield table(("column", "type", "means"), rows)


def _given() -> Iterator[str]:
    first, *_ = re.split(r"\n\s*\n", RecordedInputs.__doc__ or "", maxsplit=1)
    yield flat(first) + "\n"
    terms = re.findall(
        r"^ *- ``(\w+)``: (.*(?:\n +(?!- )\S.*)*)$", RecordedInputs.__doc__ or "", re.MULTILINE
    )
    assert terms
    yield table(("key", "means"), ((code(key), flat(text)) for key, text in terms))
