"""Payloads of entries: decoding restores each value, and an invalid value reads as missing."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolt_watch.core.model import EntryEffects, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode

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
    "wrote",
    "reason_code",
    "sign",
    "slots_used",
    "site",
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
    entry_payloads.Envelope,
    entry_payloads.Claimed,
    entry_payloads.Ended,
    entry_payloads.Reaped,
    entry_payloads.Attempt,
    entry_payloads.OutageChange,
    entry_payloads.Paused,
    entry_payloads.Resumed,
    entry_payloads.Remade,
    entry_payloads.ByHand,
)
ENCODED: list[tuple[Any, dict[str, Any]]] = [
    (
        entry_payloads.Ended(withheld=entry_payloads.Withheld("a note", "open")),
        {"withheld": {"note": "a note", "status": "open"}},
    ),
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
    (
        entry_payloads.Claimed(None, 0, 2, 1, "claimed", "host", AT, entry_payloads.Resend(AT, AT)),
        {
            "place": 0,
            "free": 2,
            "slots_used": 1,
            "deferred_note": "claimed",
            "site": "host",
            "deadline": ISO,
            "resend": {"since": ISO, "claimed": ISO},
        },
    ),
    (entry_payloads.Claimed(), {}),
    (
        entry_payloads.Ended(AT, AT, AT, AT, "board", "service", 2, AT, 3, "failed", True, AT),
        {
            "since": ISO,
            "deadline": ISO,
            "until": ISO,
            "retry_at": ISO,
            "target": "board",
            "unreachable": "service",
            "tries": 2,
            "next_try": ISO,
            "busy": 3,
            "ended": "failed",
            "uncounted": True,
            "uncounted_claim": ISO,
        },
    ),
    (entry_payloads.Ended(), {}),
    (
        entry_payloads.Reaped(
            AT, entry_payloads.LastSign("notes", "ann", "c1"), 2730, 1800, True, AT, AT, "failed"
        ),
        {
            "last_sign": ISO,
            "sign": {"what": "notes", "who": "ann", "commit": "c1"},
            "idle_seconds": 2730,
            "stale_after_seconds": 1800,
            "uncounted": True,
            "uncounted_claim": ISO,
            "retry_at": ISO,
            "ended": "failed",
        },
    ),
    (
        entry_payloads.Reaped(AT, None, 1, 1),
        {"last_sign": ISO, "sign": None, "idle_seconds": 1, "stale_after_seconds": 1},
    ),
    (entry_payloads.Paused(AT, True, "ann"), {"until": ISO, "reaping": True, "by": "ann"}),
    (entry_payloads.Paused(None, False, "ann"), {"until": None, "reaping": False, "by": "ann"}),
    (entry_payloads.Resumed("ann"), {"by": "ann"}),
    (
        entry_payloads.Envelope(
            "1.0",
            "here",
            EntryEffects({"status": ("open", "in_progress")}, "a note", ("e1",), False),
            ReasonCode.REFUSED,
        ),
        {
            "reason_code": "refused",
            "program": "1.0",
            "host": "here",
            "wrote": {
                "cells": {"status": ["open", "in_progress"]},
                "note": "a note",
                "events": ["e1"],
                "events_in_history": False,
            },
        },
    ),
    (
        entry_payloads.Envelope("1.0", "here"),
        {"program": "1.0", "host": "here", "wrote": {"cells": {}, "note": "", "events": []}},
    ),
]


@pytest.mark.parametrize(
    ("payload", "detail"), ENCODED, ids=[f"{type(row[0]).__name__}" for row in ENCODED]
)
def test_it_comes_back(payload: Any, detail: dict[str, Any]) -> None:
    assert orjson.dumps(payload.encode()) == orjson.dumps(detail), "its keys, and their order"
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
    assert claimed == entry_payloads.Claimed(
        place=0,
        free=2,
        deadline=AT,
        deferred_note="claimed",
        resend=entry_payloads.Resend(AT, None),
    )
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
        target="board",
        unreachable="service",
        tries=2,
        next_try=AT,
        busy=3,
        until=AT,
        retry_at=AT,
        uncounted=True,
        uncounted_claim=AT,
    )


def test_a_reap_a_pause_and_where_an_entry_comes_from() -> None:
    reap = {"last_sign": ISO, "idle_seconds": 2730, "stale_after_seconds": 1800, "ended": "failed"}
    assert entry_payloads.Reaped.decode(reap) == entry_payloads.Reaped(
        AT, None, 2730, 1800, ended="failed"
    )
    assert entry_payloads.Paused.decode(
        {"until": ISO, "reaping": True, "by": "ann"}
    ) == entry_payloads.Paused(AT, True, "ann")
    envelope = entry_payloads.Envelope.decode({"program": "1.0", "host": "here"})
    assert envelope == entry_payloads.Envelope("1.0", "here")


@pytest.mark.parametrize("seconds", [-1, 2**63 - 1])
def test_a_silence_that_no_rule_allows(seconds: int) -> None:
    assert entry_payloads.Reaped.decode({"stale_after_seconds": seconds}) == entry_payloads.Reaped()


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8))
def test_a_foreign_value_is_no_error(detail: dict[str, Any]) -> None:
    for payload in TYPES:
        assert payload.decode(detail) is not None


@pytest.mark.parametrize("payload", TYPES)
def test_values_of_another_shape_read_as_missing(payload: Any) -> None:
    any_shape = {"unreachable", "uncounted", "ended", "why_code", "reaping", "by"}
    objects = {"resend", "withheld"}
    foreign = {key: {"x": 1} for key in KEYS if key not in any_shape | objects}
    assert payload.decode(foreign) == payload.decode({})


def test_a_reprocess_names_its_commit_and_who_asked() -> None:
    assert entry_payloads.Reprocessed("c1", "ann").encode() == {"from": "c1", "by": "ann"}


RAW = {
    "cli/replay.py": "`given` are the options of its command line",
    "core/model/entry_payloads.py": "encodes and decodes",
    "core/model/recorded_inputs.py": "encodes and decodes `given`",
    "core/model/reason_codes.py": "derives the codes of entries from before the codes",
    "replay/verification.py": "compares every key",
}
"""Modules that may name a key of a detail → the reason."""
DETAILS = frozenset({"detail", "given"})


def names_a_key(node: ast.AST) -> bool:
    """Return whether an expression or statement reads or writes a key of a detail by its name."""
    match node:
        case ast.Subscript(value=holder) | ast.Call(func=ast.Attribute(value=holder, attr="get")):
            return is_detail(holder)
        case ast.Compare(left=ast.Constant(), comparators=[holder]):
            return is_detail(holder)
        case ast.keyword(arg=name, value=value) if name in DETAILS:
            return has_keys(value)
        case ast.Assign(targets=[target], value=value) | ast.AugAssign(target=target, value=value):
            return is_detail(target) and has_keys(value)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            return is_detail(target) and has_keys(value)
        case ast.Dict(keys=keys, values=values):
            merged = any(
                is_detail(value) for key, value in zip(keys, values, strict=True) if key is None
            )
            return merged and any(isinstance(key, ast.Constant) for key in keys)
    return False


def is_detail(node: ast.AST) -> bool:
    return ast.unparse(node).rpartition(".")[2] in DETAILS


def has_keys(value: ast.AST) -> bool:
    return any(
        isinstance(key, ast.Constant)
        for one in ast.walk(value)
        if isinstance(one, ast.Dict)
        for key in one.keys
    )


@pytest.mark.parametrize(
    "text",
    [
        "entry.detail['held']",
        "entry.detail.get('held')",
        "'scope' in entry.detail",
        "Decision(detail={'by': by})",
        "one._replace(detail={**one.detail, 'given': given})",
        "detail = {'by': by}",
        "detail: dict[str, str] = {'by': by}",
        "detail |= {'by': by}",
        "return_ = {**decision.detail, 'deadline': at}",
        "given = {'now': now}",
    ],
)
def test_the_next_test_finds_a_key(text: str) -> None:
    assert any(names_a_key(node) for node in ast.walk(ast.parse(text)))


def test_no_other_module_names_a_key_of_a_detail() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path.is_relative_to(PACKAGE / "targets"):
            # Here, `given` is part of a Kubernetes manifest or of settings.
            continue
        if any(names_a_key(node) for node in ast.walk(ast.parse(path.read_text("utf-8")))):
            found.add(path.relative_to(PACKAGE).as_posix())
    assert found == set(RAW)
