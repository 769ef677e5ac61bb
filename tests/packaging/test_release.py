"""The version is the same in each file, and `make release` changes all files or none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dolt_watch import __version__
from tools.release import NAMED, ROOT, main, named


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in (*NAMED, "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    changelog = tmp_path / "CHANGELOG.md"
    text = changelog.read_text("utf-8")
    changelog.write_text(
        text.replace("## [Unreleased]\n", "## [Unreleased]\n\n### Added\n- Something.\n", 1),
        "utf-8",
    )
    return tmp_path


def test_every_place_names_the_same_version() -> None:
    found = list(named())
    assert {name for name, _ in found} == set(NAMED)
    assert {version for _, version in found} == {__version__}


def test_no_other_place_names_it() -> None:
    """No image tag and no page contains a version that a release wouldn't change."""
    pages = [
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("cronjobs/**/*"),
        *ROOT.glob("examples/**/*"),
        ROOT / "README.md",
    ]
    for path in pages:
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and name not in NAMED:
            assert f"dolt_watch:{__version__}" not in path.read_text("utf-8"), name
            assert f"dolt_watch {__version__}" not in path.read_text("utf-8"), name


def test_a_release(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["987.65.43"], copy) == 0
    assert {version for _, version in named(copy)} == {"987.65.43"}
    assert [name for name, _ in named(copy)] == [name for name, _ in named()], "as often as before"
    unreleased, release, *_ = (copy / "CHANGELOG.md").read_text("utf-8").split("\n## [")[1:]
    assert unreleased.strip() == "Unreleased]"
    assert release.startswith("987.65.43] - 20")
    assert "- Something." in release
    assert "git tag -a v987.65.43" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("", "is not a version"),
        ("1.2", "is not a version"),
        ("v1.2.3", "is not a version"),
        (__version__, "not newer"),
        ("0.0.1", "not newer"),
    ],
)
def test_no_release(copy: Path, capsys: pytest.CaptureFixture[str], version: str, why: str) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert main([version], copy) == 2
    assert why in capsys.readouterr().err
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_nothing_to_release(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["987.0.0"], copy) == 0
    assert main(["987.0.1"], copy) == 2
    assert "no entries under [Unreleased]" in capsys.readouterr().err
