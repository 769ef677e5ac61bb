"""The site: every page of the repository, staged as the tree that it is, built by MkDocs in
strict mode. ``python -m tools.docs.site [FOLDER]``.

Staged, so that a link is the same on a forge and in the site, and so that MkDocs checks each
one: pages outside docs/ are pages of the site, and whatever else a page links to comes along as
a file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "cronjobs", "examples", "bench")
LINK = re.compile(r"\]\(([^)\s]+)\)|\ssrc=\"([^\"]+)\"")
# A word after the language is for tests; Python-Markdown would not know the block for one.
FENCE = re.compile(r"^(\s*```\w+) [^\n]*$", re.MULTILINE)


def pages() -> list[Path]:
    return sorted(
        [
            *ROOT.glob("*.md"),
            *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md")),
        ]
    )


def stage(into: Path) -> None:
    for page in pages():
        text = page.read_text("utf-8")
        _place(into, page).write_text(FENCE.sub(r"\1", text), "utf-8")
        for link in targets(text):
            file = (page.parent / link).resolve()
            if file.is_file() and file.suffix != ".md" and file.is_relative_to(ROOT):
                shutil.copyfile(file, _place(into, file))


def targets(text: str) -> list[str]:
    """The links of a page that lead to files: no address, no place in the page itself."""
    found = [link.partition("#")[0] for pair in LINK.findall(text) for link in pair if link]
    return [link for link in found if link and "://" not in link and not link.startswith("mailto:")]


def _place(into: Path, file: Path) -> Path:
    place = into / file.relative_to(ROOT)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def build(site: Path) -> int:
    """MkDocs' exit code: 1 for any warning."""
    with tempfile.TemporaryDirectory() as staged:
        stage(Path(staged))
        # Material tells of its successor on every build.
        env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "DOCS": staged}
        command = [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--config-file",
            str(ROOT / "mkdocs.yml"),
            "--site-dir",
            str(site),
        ]
        return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "site").absolute()))
