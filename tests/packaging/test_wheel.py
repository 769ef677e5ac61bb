"""The content of the wheel, including files other than Python modules."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.conftest import Once
from tests.support.wheel import build

ROOT = Path(__file__).parents[2]
OF_THE_REPOSITORY = {".gitignore", ".pre-commit-config.yaml"}
"""Files that only a clone of the repository needs."""


@pytest.fixture(scope="module")
def wheel(once: Once) -> zipfile.Path:
    (built,) = once("wheel", build).glob("*.whl")
    return zipfile.Path(built)


@pytest.fixture(scope="module")
def source(once: Once) -> Path:
    """Return the folder of the unpacked source distribution."""

    def make(folder: Path) -> None:
        built = [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "--target",
            "sdist",
            "--directory",
            str(folder),
        ]
        done = subprocess.run(built, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            # ``extractall(filter=…)`` exists since Python 3.11.4. Older versions ignore the
            # attribute.
            opened.extraction_filter = getattr(tarfile, "data_filter", None)
            opened.extractall(folder)

    return next(each for each in once("source", make).iterdir() if each.is_dir())


def test_the_source_has_all_that_is_kept(source: Path) -> None:
    """A user can run the tests, which also read manifests and the Makefile, from the source."""
    kept = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    there = {each.relative_to(source).as_posix() for each in source.rglob("*") if each.is_file()}
    assert {name for name in kept if name and (ROOT / name).exists()} - there <= OF_THE_REPOSITORY


def test_a_wheel_of_the_source_is_the_same(
    source: Path, wheel: zipfile.Path, tmp_path: Path
) -> None:
    options = [
        "--no-deps",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--wheel-dir",
        str(tmp_path),
    ]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", *options, str(source)], check=True
    )
    (built,) = tmp_path.glob("*.whl")
    assert names(zipfile.Path(built)) == names(wheel)


def names(wheel: zipfile.Path) -> set[str]:
    return set(wheel.root.namelist())


def test_all_migrations_are_inside(wheel: zipfile.Path) -> None:
    here = {f"dolt_watch/migrations/{each.name}" for each in (ROOT / "migrations").glob("*.sql")}
    assert here
    assert here <= names(wheel)


@pytest.mark.parametrize(
    "name",
    [
        "dolt_watch/demo/beads.sql",
        "dolt_watch/py.typed",
        "dolt_watch/targets/prompt.j2",
        "dolt_watch/inspection/report/templates/report.js",
        "dolt_watch/inspection/report/templates/vendor/uPlot.js",
        "dolt_watch/inspection/report/templates/vendor/uPlot.LICENSE",
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
        "dolt_watch": "dolt_watch.__main__:main",
        "dolt-watch": "dolt_watch.__main__:main",
    }
