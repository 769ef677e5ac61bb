"""Entries from rows: a recorded code counts, and an entry without one is understood by its text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from dolt_watch.core.model import EntryKind
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.ledger.codec import ENTRY_COLUMNS, decode_entry

AT = datetime(2026, 4, 18, 12, tzinfo=UTC)
NOT_FOUND = 'HTTP 400: {"error":"Bead bd-1 not found."}'


def row(kind: str, reason: str, detail: Any) -> list[Any]:
    text = detail if isinstance(detail, str) else orjson.dumps(detail).decode()
    named = {"bead_id": "bd-1", "version": 1, "kind": kind, "attempt": 1, "decided_at": AT}
    return [(named | {"reason": reason, "detail": text}).get(name, "") for name in ENTRY_COLUMNS]


@pytest.mark.parametrize("code", list(ReasonCode))
def test_a_recorded_code_is_taken_whatever_the_text_says(code: ReasonCode) -> None:
    entry = decode_entry(row("failed", NOT_FOUND, {"reason_code": code.value}))
    assert entry is not None and entry.reason_code is code


@pytest.mark.parametrize(
    ("kind", "reason", "code"),
    [
        (EntryKind.FAILED, NOT_FOUND, ReasonCode.BEAD_NOT_FOUND),
        (EntryKind.RETRY, "the service runs nothing", ReasonCode.SERVICE_IDLE),
        (EntryKind.REAP, "no progress for 45m", ReasonCode.NO_PROGRESS),
        (EntryKind.CLAIM, NOT_FOUND, None),
        (EntryKind.DISPATCHED, "", None),
    ],
)
def test_a_code_that_is_missing_or_unknown_is_read_from_the_text(
    kind: EntryKind, reason: str, code: ReasonCode | None
) -> None:
    for detail in ({}, {"reason_code": "of a later release"}):
        entry = decode_entry(row(kind.value, reason, detail))
        assert entry is not None and entry.reason_code is code


@pytest.mark.parametrize("detail", ["", "no JSON", "[1]"])
def test_a_row_of_another_program_is_no_entry(detail: str) -> None:
    assert decode_entry(row("failed", "", detail)) is None
    assert decode_entry(row("of a later release", "", {})) is None
