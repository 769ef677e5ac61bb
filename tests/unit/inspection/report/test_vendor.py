"""Vendored files are the vetted versions, and their licenses are next to them."""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import pytest

VENDOR = resources.files("dolt_watch.inspection.report") / "templates" / "vendor"
TABLE = dict(
    re.findall(
        r"^\| `(\S+)` .* `([0-9a-f]{64})` \|$",
        (VENDOR / "README.md").read_text("utf-8"),
        re.MULTILINE,
    )
)


def test_every_file_is_in_the_table() -> None:
    names = {each.name for each in VENDOR.iterdir()}
    assert names - {"README.md", "uPlot.LICENSE"} == TABLE.keys() == {"uPlot.js", "uPlot.css"}
    assert "The MIT License" in (VENDOR / "uPlot.LICENSE").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(TABLE))
def test_files_are_those_that_were_vetted(name: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == TABLE[name]


def test_the_library_asks_for_nothing() -> None:
    text = (VENDOR / "uPlot.js").read_text("utf-8")
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon", "import(", "eval("):
        assert word not in text
