"""The site builds without a warning, and needs nothing from elsewhere; every page links to what
there is.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.conftest import Once
from tests.docs.conftest import ROOT
from tools.docs import site

DOCUMENT = re.compile(r"<(?:script|link|img|iframe)[^>]*\s(?:src|href)=\"?(https?://[^\"\s>]+)")


@pytest.fixture(scope="module")
def built(once: Once) -> Path:
    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "tools.docs.site", str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return once("site", make)


def test_every_page_is_in_it(built: Path) -> None:
    names = {page.relative_to(ROOT).with_suffix(".html").as_posix() for page in site.pages()}
    have = {page.relative_to(built).as_posix() for page in built.rglob("*.html")}
    missing = {
        name
        for name in names
        if name not in have and name.replace("README.html", "index.html") not in have
    }
    assert len(names) > 20
    assert not missing


def test_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    pages = list(built.rglob("*.html"))
    assert pages
    assert not {found for page in pages for found in DOCUMENT.findall(page.read_text("utf-8"))}


def test_blocks_for_tests_are_blocks_in_the_site(built: Path) -> None:
    """A word after the language, which tests read, must not cost the block."""
    for page in built.rglob("*.html"):
        assert "```" not in page.read_text("utf-8"), page


def test_the_picture_is_in_the_site_and_says_what_it_shows(built: Path) -> None:
    root = ET.parse(built / "docs/loop.svg").getroot()
    texts = {"".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")}
    assert {"history", "row changes", "events", "state", "decision", "target", "ledger"} <= texts
    assert 'src="loop.svg"' in (built / "docs/concepts.html").read_text("utf-8")


@pytest.mark.parametrize("page", site.pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """On a forge too, where what the site leaves out can be linked to."""
    broken = [
        link for link in site.targets(page.read_text("utf-8")) if not (page.parent / link).exists()
    ]
    assert not broken


def test_the_architecture_page_names_what_there_is() -> None:
    """Paths in CONTRIBUTING.md exist, and every package of the program has its place there."""
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = set(re.findall(r"`([\w./-]+(?:\.py|\.md|/))`", text))
    away = [
        name
        for name in named
        if not (ROOT / name).exists() and not (ROOT / "dolt_watch" / name).exists()
    ]
    packages = {f"{path.parent.name}/" for path in (ROOT / "dolt_watch").glob("*/__init__.py")}
    assert len(named) > 40
    assert not [name for name in away if not name.startswith(".work")]
    assert not {name for name in packages if name not in text}


def test_a_broken_link_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for file in [ROOT / "mkdocs.yml", ROOT / "LICENSE", *site.pages(), *(ROOT / "docs").iterdir()]:
        if file.is_file():
            place = tmp_path / file.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    (tmp_path / "docs/loop.md").write_text("[nowhere](nowhere.md)\n", "utf-8")
    monkeypatch.setattr(site, "ROOT", tmp_path)
    assert site.build(tmp_path / "site") == 1
    assert "'nowhere.md'" in capfd.readouterr().err
