"""Build the site from every page of the repository, in Zensical's strict mode.

``python -m tools.docs.site [FOLDER]`` writes it into ``site/`` by default.

The pages are staged in a temporary folder, under the paths that they have in the repository. So a
link works on a forge and in the site, and Zensical checks each one. Every other file that a page
links to is copied too.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from os.path import relpath
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "cronjobs", "examples", "bench")
ASSETS = "docs/assets"
"""Folder of the style sheet and the script that zensical.toml names."""
THEME = "tools/docs/theme"
"""Folder of the templates that replace those of the theme."""
LINK = re.compile(r"\]\(([^)\s]+)\)|\ssrc=\"([^\"]+)\"")
# A word after the language is for tests. Python-Markdown wouldn't recognize the block.
FENCE = re.compile(r"^(\s*```\w+) [^\n]*$", re.MULTILINE)


def repository() -> str:
    """Return the address of the repository, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["urls"]["Repository"])


def absolute_links() -> re.Pattern[str]:
    """Return a pattern of addresses of files of this repository; group 1 is the path.

    README.md has such addresses, so that it works on a package index.
    """
    forge, path = repository(), repository().removeprefix("https://github.com")
    raw = f"https://raw.githubusercontent.com{path}"
    return re.compile(rf"(?:{re.escape(forge)}/blob|{re.escape(raw)})/main/([^)\s\"]+)")


def pages() -> list[Path]:
    return sorted(
        [
            *ROOT.glob("*.md"),
            *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")),
        ]
    )


def text_of(page: Path) -> str:
    """Return a page with relative links in place of absolute ones to this repository."""
    up = relpath(ROOT, page.parent)
    prefix = "" if up == "." else f"{up}/"
    return absolute_links().sub(lambda found: prefix + found[1], page.read_text("utf-8"))


def stage(into: Path) -> None:
    for page in pages():
        text = text_of(page)
        _place(into, page).write_text(FENCE.sub(r"\1", text), "utf-8")
        for link in targets(text):
            file = (page.parent / link).resolve()
            if file.is_file() and file.suffix != ".md" and file.is_relative_to(ROOT):
                shutil.copyfile(file, _place(into, file))
    shutil.copytree(ROOT / ASSETS, into / ASSETS, dirs_exist_ok=True)


def targets(text: str) -> list[str]:
    """Return a page's links to files: no addresses, and no anchors of the page itself."""
    found = [link.partition("#")[0] for pair in LINK.findall(text) for link in pair if link]
    return [link for link in found if link and "://" not in link and not link.startswith("mailto:")]


def _place(into: Path, file: Path) -> Path:
    place = into / file.relative_to(ROOT)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def build(site: Path) -> int:
    """Build the site and return Zensical's exit code. Any warning makes it 1."""
    with tempfile.TemporaryDirectory() as name:
        staged = Path(name)  # Zensical requires the pages and the site below its settings.
        shutil.copyfile(ROOT / "zensical.toml", staged / "zensical.toml")
        shutil.copytree(ROOT / THEME, staged / "theme")
        stage(staged / "pages")
        command = [sys.executable, "-m", "zensical", "build", "--strict"]
        code = subprocess.run(command, cwd=staged, check=False).returncode
        if code == 0:
            shutil.rmtree(site, ignore_errors=True)
            shutil.copytree(staged / "site", site)
        return code


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "site").absolute()))
