"""The pictures of the documentation show a real history and load nothing from other hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dolt_watch.engines.doltlite.engine import DoltLiteEngine
from dolt_watch.ledger.reader import read_entries
from tests.docs.conftest import ROOT
from tools.docs import screens
from tools.docs.sample import ENDS, FAILS, HANGS_UP, NewBead, Plan, Storefront

IMAGES = ROOT / "docs/images"
SHOWN = re.compile(r"images/([\w-]+\.(?:svg|png))")


def short(shop: Storefront) -> None:
    """Plan three beads in twenty minutes."""
    fates = {"shop-a": "works", "shop-b": FAILS, "shop-c": HANGS_UP}
    beads = [NewBead(id, f"Title of {id}", fate=fate) for id, fate in fates.items()]
    shop.at(ENDS - timedelta(minutes=19), lambda: shop.create(*beads))


@pytest.fixture
def shop(tmp_path: Path, doltlite: DoltLiteEngine) -> Iterator[Storefront]:
    with Storefront(tmp_path, Plan(3, timedelta(minutes=20), 1, 4, short)) as made:
        made.make()
        yield made


def test_the_history_is_real_and_ends_at_the_moment_of_the_pictures(shop: Storefront) -> None:
    entries = read_entries(shop.engine)
    kinds = {entry.kind.value for entry in entries}
    assert {"claim", "dispatched", "failed", "unknown"} <= kinds
    assert ENDS - timedelta(minutes=20) <= entries[-1].at <= entries[0].at <= ENDS
    dates = [commit.date for commit in shop.engine.commits(None, shop.head())]
    assert dates == sorted(dates, reverse=True) and dates[0] <= ENDS
    (status,) = shop.engine.query("SELECT status FROM issues WHERE id = 'shop-a'")[0]
    assert status == "closed"


def test_a_terminal_shows_the_moment_and_no_folder_of_this_machine(shop: Storefront) -> None:
    printed = screens.run(shop.folder, ["status"])
    assert "leading on web-1" in printed and "20:13:06" in printed
    assert str(shop.folder) not in screens.run(shop.folder, ["doctor"], exits=(0, 1))


def test_each_picture_of_a_page_exists_and_loads_nothing() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in SHOWN.findall(page.read_text("utf-8"))}
    assert named <= {file.name for file in IMAGES.iterdir()}
    for file in IMAGES.glob("*.svg"):
        text = file.read_text("utf-8")
        assert not re.search(r"url\(['\"]?https?:|href=", text), file.name
