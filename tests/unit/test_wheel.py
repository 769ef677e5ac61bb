"""The wheel: what an installation gets, files that are no Python included."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """Built as an installation builds it, with the dev group's hatchling: no package index is asked."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--wheel-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return zipfile.Path(built)


def names(wheel: zipfile.Path) -> set[str]:
    return set(wheel.root.namelist())


def test_all_migrations_are_inside(wheel: zipfile.Path) -> None:
    here = {f"dolt_watch/migrations/{each.name}" for each in (ROOT / "dolt_watch/migrations").glob("*.sql")}
    assert here
    assert here <= names(wheel)


@pytest.mark.parametrize(
    "name",
    [
        "dolt_watch/demo/beads.sql",
        "dolt_watch/py.typed",
        "dolt_watch/targets/prompt.j2",
        "dolt_watch/report/templates/page.js",
    ],
)
def test_other_files_are_inside(wheel: zipfile.Path, name: str) -> None:
    assert name in names(wheel)


def test_nothing_but_the_package_is_inside(wheel: zipfile.Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert "dolt_watch" in tops
    assert all(top == "dolt_watch" or top.endswith(".dist-info") for top in tops)


def test_both_spellings_of_the_command(wheel: zipfile.Path) -> None:
    (info,) = (each for each in wheel.iterdir() if each.name.endswith(".dist-info"))
    parsed = ConfigParser()
    parsed.read_string((info / "entry_points.txt").read_text(encoding="utf-8"))
    assert dict(parsed["console_scripts"]) == {
        "dolt_watch": "dolt_watch.cli:main",
        "dolt-watch": "dolt_watch.cli:main",
    }
