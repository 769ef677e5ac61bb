"""The site builds without a warning and loads nothing from other hosts. Every link has a target."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.conftest import Once
from tests.docs.conftest import ROOT
from tests.docs.shell import steps_of
from tools.docs import site

QUICKSTART = (ROOT / "docs/quickstart.md").read_text("utf-8")
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)+/?)`")
RETIRED = re.compile(r"\b(?:anew|fold(?:s|ed|ing)?|resyncs?|re-?folded|lens)\b", re.IGNORECASE)
"""Words for concepts that have another name in docs/reference/terms.md."""
WRITTEN = [
    page
    for page in site.pages()
    if not page.relative_to(ROOT)
    .as_posix()
    .startswith(("docs/reference/", "docs/performance.md", "bench/results.md"))
]
"""Pages that are not generated from the code."""
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


def test_nothing_is_loaded_from_elsewhere(built: Path, browser: Browser) -> None:
    pages = list(built.rglob("*.html"))
    assert pages
    assert not {found for page in pages for found in DOCUMENT.findall(page.read_text("utf-8"))}
    requested: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: requested.append(request.url))
    page.goto((built / "index.html").as_uri())
    page.wait_for_load_state("networkidle")
    page.close()
    assert len(requested) > 2
    assert not [url for url in requested if not url.startswith(("file:", "data:", "blob:"))]


@pytest.mark.long
@pytest.mark.parametrize(
    ("width", "scripts"),
    [
        (390, False),
        pytest.param(390, True, marks=pytest.mark.matrix),
        pytest.param(1440, True, marks=pytest.mark.matrix),
    ],
)
def test_no_page_is_wider_than_the_screen(
    width: int, scripts: bool, built: Path, browser: Browser
) -> None:
    """A page that is too wide for a desktop is too wide for a phone."""
    page = browser.new_page(viewport={"width": width, "height": 900}, java_script_enabled=scripts)
    wide = []
    for each in sorted(built.rglob("*.html")):
        page.goto(each.as_uri())
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(each.relative_to(built).as_posix())
    page.close()
    assert not wide


def test_blocks_for_tests_are_blocks_in_the_site(built: Path) -> None:
    """A word after the language, which tests read, must not break the block."""
    for page in built.rglob("*.html"):
        assert "```" not in page.read_text("utf-8"), page


def test_the_picture_is_in_the_site_and_says_what_it_shows(built: Path) -> None:
    root = ET.parse(built / "docs/loop.svg").getroot()
    texts = {"".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")}
    assert {"history", "row changes", "events", "state", "decision", "target", "ledger"} <= texts
    assert 'src="loop.svg"' in (built / "docs/concepts.html").read_text("utf-8")


@pytest.mark.parametrize("page", site.pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Links must work on a forge too, where pages can link to files outside of the site."""
    broken = [
        link for link in site.targets(site.text_of(page)) if not (page.parent / link).exists()
    ]
    assert not broken


def test_the_readme_works_on_a_package_index() -> None:
    """All links are absolute, and links to this repository name its files."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert site.targets(text) == []
    own = site.absolute_links().findall(text)
    pictures = [path for path in own if path.endswith((".png", ".svg"))]
    assert len(own) > 10
    assert text.count(site.repository()) == len(own) - len(pictures)
    assert text.count("https://raw.githubusercontent.com/") == len(pictures) == 3


def test_the_copy_button_copies_commands_only(built: Path, browser: Browser) -> None:
    """The copied text has no prompts, no output and no marks of continued lines."""
    page = browser.new_page()
    page.goto((built / "docs/quickstart.html").as_uri())
    copied = page.eval_on_selector_all(
        "pre[data-copy]", "all => all.map(each => each.dataset.copy)"
    )
    page.close()
    fences = re.findall(r"```console\n(.*?)```", QUICKSTART, re.DOTALL)
    assert copied == [
        "\n".join(step.command for step in steps_of(each)) for each in map(block, fences)
    ]
    assert len(copied) > 8


def block(body: str) -> str:
    return f"```console\n{body}```\n"


def test_the_architecture_page_names_what_there_is() -> None:
    """Each path in CONTRIBUTING.md exists, and the page names every package of the program."""
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


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_paths_in_pages_exist(page: Path) -> None:
    """A path in backquotes must exist if it begins with a folder of the repository or a package."""
    roots = [ROOT, ROOT / "dolt_watch"]
    named = PATH.findall(page.read_text("utf-8"))
    ours = [
        path
        for path in named
        if path[0] != "." and any((root / path.partition("/")[0]).is_dir() for root in roots)
    ]
    missing = [
        path for path in ours if not any((root / path).exists() for root in [*roots, page.parent])
    ]
    assert not missing


def test_pages_that_the_code_names_exist() -> None:
    named = {
        (path.relative_to(ROOT).as_posix(), page)
        for folder in ("dolt_watch", "migrations", "tests", "tools", "bench")
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".sql", ".j2") and path != Path(__file__)
        for page in re.findall(r"\bdocs/[\w/.-]+\.md\b", path.read_text("utf-8"))
    }
    assert len(named) > 10
    assert not {(path, page) for path, page in named if not (ROOT / page).exists()}


def test_paths_are_recognized() -> None:
    text = "`dolt_watch/core/fold.py` `core/model/` `plain.py` `a b/c.py`"
    assert PATH.findall(text) == ["dolt_watch/core/fold.py", "core/model/"]


def prose(page: str) -> str:
    """Return a page without its code blocks, its inline code, and the targets of its links."""
    return re.sub(r"```.*?```|`[^`\n]*`|\]\([^)]*\)", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_use_the_terms_of_the_glossary(page: Path) -> None:
    assert not RETIRED.findall(prose(page.read_text("utf-8")))


def test_retired_words_are_recognized() -> None:
    assert RETIRED.findall(
        prose("Folded anew in a folder, `fold` [here](fold.md).\n```\nanew\n```\n")  # quoted
    ) == [
        "Folded",  # quoted
        "anew",
    ]


def test_each_term_is_defined_once() -> None:
    glossary = (ROOT / "docs/reference/terms.md").read_text("utf-8")
    terms = re.findall(r"^\| ([^|]+?) \|", glossary, re.MULTILINE)
    defined = [term for term in terms if term not in ("term", "---")]
    assert len(defined) > 40
    assert len(set(defined)) == len(defined)


def test_a_broken_link_fails_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = [ROOT / name for name in ("zensical.toml", "pyproject.toml", "LICENSE")]
    for file in [*settings, *site.pages(), *(ROOT / "docs").rglob("*.*")]:
        if file.is_file():
            place = tmp_path / file.relative_to(ROOT)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    shutil.copytree(ROOT / site.THEME, tmp_path / site.THEME)
    (tmp_path / "docs/loop.md").write_text("[nowhere](nowhere.md)\n", "utf-8")
    monkeypatch.setattr(site, "ROOT", tmp_path)
    assert site.build(tmp_path / "site") == 1
    said = re.sub(r"\x1b\[[0-9;]*m", "", capfd.readouterr().err)
    assert "page does not exist" in said
    assert "nowhere.md" in said
