"""docs/reference/ledger.md: from the migrations, whose columns say what they mean, and from the
kinds of entries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dolt_watch.core.decisions.recorded_inputs import record_inputs
from dolt_watch.core.model import REPORTS, EntryEffects, EntryKind, Phase
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.ledger.schema import local_sql, migrations
from tools.docs.reading import GENERATED, attributes, code, flat, table

INTRO = """# The ledger

dolt_watch adds tables of its own to the tracker's database, and changes none of beads'. What it
writes to beads' rows, as `bd` itself would, are `status`, `notes`, `started_at` and `updated_at`
of
`issues`, and rows of `events`. Each entry of the ledger is one Dolt commit by `dolt-watch`, whose
trailers say the same in short:

```sh
dolt_watch log --bead bd-12 --format json
bd sql "SELECT commit_hash, message FROM dolt_log WHERE committer = 'dolt-watch' LIMIT 5"
```

Times are UTC. The tables are an interface for reading; write to none of them.
"""
COMMITTED = """## Tables that enter history

They are committed, pushed and pulled with the tracker. `watch_decision` is append-only. Its
primary key, (`bead_id`, `version`), is what makes a claim exclusive.
"""
LOCAL = """## Tables that never enter history

Rows of `dolt_ignore` keep them out. They are on one server and one branch; a clone lacks them, and
`dolt_watch init` makes them anew. Whatever they hold is made from history again,
but for claims whose worker died before the tick was done.
"""
KINDS = """## Kinds of entries

A *decision* that meets another worker's is thrown away and decided anew. A *report* tells what
happened outside, and is appended until it stands.
"""

REASONS = """## `detail.reason_code`

The code of `reason`: programs compare it, and the words of `reason` may change from release to
release. An entry without it is from before the codes; its code follows from its
text (`dolt_watch/core/model/reason_codes.py`). A claim and a `dispatched` have no reason.
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
    first, *_ = re.split(r"\n\s*\n", record_inputs.__doc__ or "", maxsplit=1)
    yield flat(first) + "\n"
    terms = re.findall(
        r"^ *- ``(\w+)``: (.*(?:\n +(?!- )\S.*)*)$", record_inputs.__doc__ or "", re.MULTILINE
    )
    assert terms
    yield table(("key", "means"), ((code(key), flat(text)) for key, text in terms))
