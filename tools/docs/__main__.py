"""Write the reference pages. With ``--check``, only exit 1 if a page is out of date."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.docs import commands, ledger, log, metrics, settings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGES = {
    "settings": settings.page,
    "commands": commands.page,
    "ledger": ledger.page,
    "log": log.page,
    "metrics": metrics.page,
}


def stale() -> dict[Path, str]:
    """Return the new text of each page that is out of date."""
    made = {FOLDER / f"{name}.md": page() for name, page in PAGES.items()}
    return {
        path: text
        for path, text in made.items()
        if not path.exists() or path.read_text("utf-8") != text
    }


def main(check: bool) -> int:
    """Write or check the pages, and return the exit code."""
    for path, text in stale().items():
        if check:
            sys.stderr.write(f"{path.name} is out of date. Run `make docs`.\n")
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
        sys.stdout.write(f"written: {path.name}\n")
    return 1 if check and stale() else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
