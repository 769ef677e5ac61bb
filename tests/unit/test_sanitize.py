"""``outside`` makes external text safe to print and short, and never cuts an escape in two."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolt_watch.sanitize import sanitize
from dolt_watch.text_table import format_table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ('{"error":"Bead bd-1 not found."}', '{"error":"Bead bd-1 not found."}'),
        ("a\nb\r\n\tc", "a\\nb\\r\\n\\tc"),
        ("\x1b[31mred\x00\x7f\x9b", "\\x1b[31mred\\x00\\x7f\\x9b"),
        ("user\u202egnp.exe\u2066\u200f", "user\\u202egnp.exe\\u2066\\u200f"),
        ("a\u2028b\u2029c\ufeff", "a\\u2028b\\u2029c\\ufeff"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("lone \ud800", "lone \\ud800"),
        ("C:\\temp", "C:\\temp"),
        ("Ünïcødé 漢字 👩\u200d💻\u00a0.", "Ünïcødé 漢字 👩\u200d💻\u00a0."),
    ],
)
def test_what_cannot_be_seen_is_shown_escaped(text: str, shown: str) -> None:
    assert sanitize(text) == shown


def test_at_the_limit_nothing_is_cut() -> None:
    assert sanitize("a" * 500) == "a" * 500
    assert sanitize("a" * 501) == "a" * 499 + "…"


def test_an_escape_is_not_cut_in_two() -> None:
    assert sanitize("abc\x00", limit=6) == "abc…"
    assert sanitize("abc\x00", limit=7) == "abc\\x00"
    assert sanitize("\x00", limit=2) == "…"
    assert sanitize("ab", limit=0) == ""


@given(st.text(alphabet=st.characters()), st.integers(min_value=0, max_value=600))
def test_any_text_is_printable_utf8_within_the_limit(text: str, limit: int) -> None:
    shown = sanitize(text, limit)
    assert len(shown) <= limit
    shown.encode()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", shown)
    assert sanitize(shown, limit) == shown


def test_a_cell_of_a_table_is_escaped_and_the_columns_stand() -> None:
    lines = format_table(("BEAD", "WHY"), [("bd-1\x1b[2J\nforged", "a\tb"), ("bd-2", "c")])
    assert [line.split() for line in lines] == [
        ["BEAD", "WHY"],
        ["bd-1\\x1b[2J\\nforged", "a\\tb"],
        ["bd-2", "c"],
    ]
    assert {line.index(last) for line, last in zip(lines, ("WHY", "a\\tb", "c"), strict=True)} == {
        21
    }
