"""Payloads of entries: what is encoded comes back, and a foreign value reads as missing."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolt_watch.core.model import entry_payloads

AT = datetime(2026, 4, 18, 22, 35, 46, 123456, UTC)
ISO = "2026-04-18T22:35:46.123456+00:00"
PACKAGE = Path(entry_payloads.__file__).parents[2]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.just(ISO),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = (
    "program",
    "host",
    "place",
    "free",
    "deadline",
    "deferred_note",
    "resend",
    "withheld",
    "target",
    "unreachable",
    "tries",
    "next_try",
    "busy",
    "until",
    "retry_at",
    "uncounted",
    "uncounted_claim",
    "last_sign",
    "idle_seconds",
    "stale_after_seconds",
    "ended",
    "phase",
    "since",
    "sent_at",
    "why",
    "why_code",
    "renamed_from",
    "part",
    "by",
    "reaping",
    "from",
    "to",
    "beads",
    "held",
    "was",
    "row",
)
TYPES = (
    entry_payloads.Origin,
    entry_payloads.Claimed,
    entry_payloads.Withheld,
    entry_payloads.Ended,
    entry_payloads.Reaped,
    entry_payloads.Attempt,
    entry_payloads.OutageChange,
    entry_payloads.Paused,
    entry_payloads.Remade,
    entry_payloads.ByHand,
)
ENCODED: list[tuple[Any, dict[str, Any]]] = [
    (entry_payloads.Withheld("a note", "open"), {"withheld": {"note": "a note", "status": "open"}}),
    (
        entry_payloads.Attempt("running", AT, AT),
        {"since": ISO, "sent_at": ISO, "deadline": None, "phase": "running"},
    ),
    (
        entry_payloads.Attempt("backoff", AT, None, None, AT, "HTTP 500: x", "refused", "bd-1"),
        {
            "since": ISO,
            "sent_at": None,
            "deadline": None,
            "retry_at": ISO,
            "phase": "backoff",
            "why": "HTTP 500: x",
            "why_code": "refused",
            "renamed_from": "bd-1",
        },
    ),
    (
        entry_payloads.OutageChange("board", AT, "service", AT),
        {"target": "board", "part": "service", "since": ISO, "next_try": ISO},
    ),
    (
        entry_payloads.OutageChange("board", AT, by="health"),
        {"target": "board", "since": ISO, "by": "health"},
    ),
    (
        entry_payloads.Remade("c1", "c2", 3, ("bd-1", "bd-2")),
        {"from": "c1", "to": "c2", "beads": 3, "held": ["bd-1", "bd-2"]},
    ),
    (
        entry_payloads.ByHand("ann", "running", "in_progress"),
        {"by": "ann", "was": "running", "row": "in_progress"},
    ),
    (entry_payloads.ByHand("ann", "blocked", None), {"by": "ann", "was": "blocked", "row": None}),
]


@pytest.mark.parametrize(
    ("payload", "detail"), ENCODED, ids=[f"{type(row[0]).__name__}" for row in ENCODED]
)
def test_it_comes_back(payload: Any, detail: dict[str, Any]) -> None:
    assert payload.encode() == detail
    assert type(payload).decode(orjson.loads(orjson.dumps(detail))) == payload


def test_a_claim_that_tries_a_target() -> None:
    detail = {
        "place": 0,
        "free": 2,
        "deadline": ISO,
        "deferred_note": "claimed",
        **entry_payloads.Resend(AT, None).encode(),
    }
    claimed = entry_payloads.Claimed.decode(detail)
    assert claimed == entry_payloads.Claimed(0, 2, AT, "claimed", entry_payloads.Resend(AT, None))
    assert [claimed.tries, claimed._replace(resend=None).tries, entry_payloads.Claimed().tries] == [
        True,
        True,
        False,
    ]


def test_what_ended_an_attempt() -> None:
    detail = {
        "target": "board",
        "unreachable": "service",
        "tries": 2,
        "next_try": ISO,
        "busy": 3,
        "until": ISO,
        "retry_at": ISO,
        "uncounted": True,
        "uncounted_claim": ISO,
    }
    assert entry_payloads.Ended.decode(detail) == entry_payloads.Ended(
        "board", "service", 2, AT, 3, AT, AT, True, AT
    )


def test_a_reap_a_pause_and_where_an_entry_comes_from() -> None:
    reap = {"last_sign": ISO, "idle_seconds": 2730, "stale_after_seconds": 1800, "ended": "failed"}
    assert entry_payloads.Reaped.decode(reap) == entry_payloads.Reaped(AT, 2730, 1800, "failed")
    assert entry_payloads.Paused.decode(
        {"until": ISO, "reaping": True, "by": "ann"}
    ) == entry_payloads.Paused(AT, True, "ann")
    assert entry_payloads.Origin.decode(
        {"program": "1.0", "host": "here"}
    ) == entry_payloads.Origin("1.0", "here")


@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8))
def test_a_foreign_value_is_no_error(detail: dict[str, Any]) -> None:
    for payload in TYPES:
        assert payload.decode(detail) is not None or payload is entry_payloads.Withheld


@pytest.mark.parametrize("payload", [one for one in TYPES if one is not entry_payloads.Withheld])
def test_values_of_another_shape_read_as_missing(payload: Any) -> None:
    foreign = {
        key: {"x": 1}
        for key in KEYS
        if key not in ("unreachable", "uncounted", "ended", "why_code", "reaping", "by", "resend")
    }
    assert payload.decode(foreign) == payload.decode({})


def test_a_reprocess_names_its_commit_and_who_asked() -> None:
    assert entry_payloads.Reprocessed("c1", "ann").encode() == {"from": "c1", "by": "ann"}


RAW = {
    "entry_payloads.py": "decodes",
    "verification.py": "compares every key",
    "reason_codes.py": "reads entries from before the codes",
}
RAW |= {"ledger_entry.py": "given", "writer.py": "given and wrote", "codec.py": "wrote"}
RAW |= {"reap_policy.py": "writes"}
"""Modules that name a key of a detail themselves, and why."""


def test_no_other_module_reads_a_key_of_a_detail() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Subscript):
                holder = node.value
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "get"
            ):
                holder = node.func.value
            else:
                continue
            if ast.unparse(holder).rpartition(".")[2] == "detail":
                found.add(path.name)
    assert found == set(RAW)
