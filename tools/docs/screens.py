"""Take the pictures of the documentation: ``python -m tools.docs.screens [few|many]``.

``few`` is a tracker with 30 beads, ``many`` one with 2,000, both with a real history
(``tools/docs/sample.py``). ``many`` takes a quarter of an hour. The pictures are in docs/images:
terminals as SVG, the report page as PNG. They need chromium or Chrome on PATH, and DoltLite.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import Page, sync_playwright

from tools.docs.picture import ROOT, draw, record
from tools.docs.sample import FEW, MANY, Plan, Storefront

IMAGES = ROOT / "docs/images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ZONE = "Europe/Berlin"
SHOWN_FOLDER = "/srv/shop"
"""Folder of the tracker in the pictures."""


class Terminal(NamedTuple):
    """A picture of a command on a terminal."""

    name: str
    words: str
    columns: int = 100
    lines: int = 60
    exits: Sequence[int] = (0,)


class Shot(NamedTuple):
    """A picture of a part of the report page."""

    name: str
    width: int = 1280
    height: int = 1300
    scheme: str = "light"
    at: str = ""
    """Part of the address after '#': filters, or a bead."""


def pictures(plan: Plan, beads: dict[str, str]) -> tuple[Iterable[Terminal], Iterable[Shot]]:
    """Return the pictures of a tracker. ``beads``: the fate of each bead by its ID."""
    if plan is MANY:
        return (Terminal("status-2000", "status", lines=44),), (Shot("page-2000", at="range=24h"),)
    failed = next(bead for bead, fate in beads.items() if fate == "fails")
    return (
        (
            Terminal("status", "status"),
            Terminal("log", "log --since 3h"),
            Terminal("why", f"why {failed}"),
            Terminal("doctor", "doctor", exits=(0, 1)),
        ),
        (
            Shot("page", height=1200),
            Shot("page-phone", 390, 1100),
            Shot("page-bead", height=900, scheme="dark", at=f"bead={failed}"),
        ),
    )


def take(plan: Plan, images: Path) -> Iterator[Path]:
    """Create the tracker, take its pictures, and yield their files."""
    with tempfile.TemporaryDirectory() as name, Storefront(Path(name), plan) as shop:
        shop.make()
        yield from take_from(shop, images)


def take_from(shop: Storefront, images: Path) -> Iterator[Path]:
    """Take the pictures of a tracker, and yield their files."""
    terminals, shots = pictures(shop.plan, shop.fates)
    for one in terminals:
        printed = run(shop.folder, one.words.split(), one.columns, one.lines, one.exits)
        file = images / f"{one.name}.svg"
        text = f"$ dolt_watch {one.words}\n{printed}"
        file.write_text(draw(text, "dolt_watch", one.name, one.columns), "utf-8")
        yield file
    run(shop.folder, ["report", "-o", "report.html"])
    with _browser() as browser:
        for shot in shots:
            yield _shoot(browser, shop.folder / "report.html", shot, images)


def run(
    folder: Path,
    words: Sequence[str],
    columns: int = 100,
    lines: int = 60,
    exits: Sequence[int] = (0,),
) -> str:
    """Return the output of a command at the time of the pictures."""
    command = [sys.executable, "-m", "tools.docs.sample", *words]
    path = os.pathsep.join((str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])))
    text = record(command, columns, lines, folder, exits, TZ=ZONE, PYTHONPATH=path)
    return text.replace(str(folder), SHOWN_FOLDER)


@contextmanager
def _browser() -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise SystemExit(f"There is no browser on PATH. Install one of: {', '.join(BROWSERS)}.")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def _shoot(browser: Any, file: Path, shot: Shot, images: Path) -> Path:
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme=shot.scheme,
        timezone_id=ZONE,
        reduced_motion="reduce",
    )
    page: Page = context.new_page()
    page.goto(f"{file.as_uri()}{'#' if shot.at else ''}{shot.at}")
    target = images / f"{shot.name}.png"
    page.screenshot(path=target)
    context.close()
    return target


def main(names: Sequence[str]) -> None:
    """Take the pictures of the named trackers."""
    plans = {"few": FEW, "many": MANY}
    IMAGES.mkdir(exist_ok=True)
    for name in names or plans:
        for file in take(plans[name], IMAGES):
            sys.stdout.write(f"written: {file.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
