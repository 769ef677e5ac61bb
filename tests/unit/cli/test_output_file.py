"""Output files of ``report``: atomic writes to files, and direct writes to pipes."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolt_watch.cli.pages import check_page, write_page
from dolt_watch.engines.address import FileAddress
from dolt_watch.errors import SettingsError
from tests.support.commands import Commands, commands


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


def test_a_pipe_stays_a_pipe(cli: Commands, tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(
        target=lambda: read.append(pipe.read_text(encoding="utf-8")), daemon=True
    )
    reader.start()
    done = cli.run("report", "-o", str(pipe))
    reader.join(30)
    assert done.returncode == 0, done.stderr
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert read[0].startswith("<!doctype html>")


def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path: Path) -> None:
    file, link = tmp_path / "page.html", tmp_path / "link.html"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    write_page(str(link), "new")
    assert (link.is_symlink(), file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (
        True,
        "new",
        0o640,
    )


def test_no_file_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "page.html"
    file.write_text("old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SettingsError, match="No space left"):
        write_page(str(file), "new")
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    assert file.read_text() == "old"


@pytest.mark.parametrize("name", ["", "nowhere/page.html", "."])
def test_no_file_can_be_there(cli: Commands, name: str) -> None:
    before = sorted(each.name for each in cli.folder.iterdir())
    done = cli.run("report", "-o", name)
    assert done.returncode == 2
    assert done.stderr and "Traceback" not in done.stderr
    assert sorted(each.name for each in cli.folder.iterdir()) == before


def test_a_link_to_itself(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(SettingsError, match=r"Can't write .*: Too many levels of symbolic links"):
        write_page(str(loop), "new")


def test_a_current_folder_that_was_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SettingsError, match=r"Can't write page\.html: No such file"):
        check_page("page.html")


def test_the_pipe_of_a_shell(tmp_path: Path) -> None:
    """/dev/stdout and >(command) are links to a pipe without a path."""
    end, begin = os.pipe()
    try:
        write_page(f"/dev/fd/{begin}", "page")
        assert os.read(end, 100) == b"page"
    finally:
        os.close(begin)
        os.close(end)


def test_a_name_that_is_not_utf_8(cli: Commands) -> None:
    done = cli.run("report", "-o", "\udcff.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("wrote \\udcff.html: ")
    assert (cli.folder / "\udcff.html").exists()


@pytest.mark.parametrize("args", [("report", "-o"), ("tick", "--metrics-file")])
def test_a_name_that_is_too_long(cli: Commands, args: tuple[str, ...]) -> None:
    done = cli.run(*args, "x" * 300)
    assert done.returncode == 2 and "File name too long." in done.stderr
