"""Local runs on a full disk cause limited errors, and each run gets a verdict."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolt_watch.core.model import Verdict
from dolt_watch.core.model.target_answers import Refused
from dolt_watch.targets.local import launching, run_files
from dolt_watch.testing.target_conformance import make_task
from tests.support.servers import unprivileged
from tests.unit.targets.local.agents import flood, local, run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 400 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None:
        unprivileged("a small file system needs mount")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(place)], capture_output=True
    )
    if made.returncode:
        unprivileged(f"a small file system needs mount: {made.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_loses_output_and_no_verdict(small_disk: Path) -> None:
    target = local(small_disk, f"{flood(2_000_000)}; echo last words; exit 7")
    report = run(target)
    assert (
        report.failed
        and report.error.startswith("exit code 7")
        and report.error.endswith("last words")
    )
    record = run_files.read(target.store.folder(target.token) / run_files.END)
    assert record and record["dropped_bytes"] > 0


def test_a_disk_that_is_full_before_starts_nothing(small_disk: Path) -> None:
    target = local(small_disk, "echo ran > ran")
    target.store.prepare()
    with suppress_full(small_disk / "filler") as full:
        assert full
        capacity = target.capacity()
        assert capacity.down and "No space left on device" in capacity.why, (
            "nothing is claimed for it"
        )
        answer = target.dispatch(make_task(), target.token)
        assert isinstance(answer, Refused) and "No space left on device" in answer.why
        assert answer.unreachable == "target", "it counts against no bead"
    assert not (small_disk / "ran").exists()
    assert [each for each in target.store.runs.iterdir() if each.name.startswith(".")] == []


def test_a_state_directory_that_is_read_only_is_down(small_disk: Path) -> None:
    target = local(small_disk, "echo ran > ran", directory=small_disk.parent)
    run(target)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    capacity = target.capacity()
    assert capacity.down and "XDG_STATE_HOME" in capacity.why
    assert "Read-only file system" in capacity.why and str(small_disk) in capacity.why
    answer = target.dispatch(make_task(), f"{target.token}2")
    assert isinstance(answer, Refused) and answer.unreachable == "target"
    assert target.verdict(target.token, None).verdict is Verdict.UNKNOWN, "no lock can be taken"
    assert list(target.logs(target.token)) == [], "it wrote nothing"


LIMITED_RUNNER = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))
sys.argv[0] = {runner!r}
runpy.run_path({runner!r}, run_name="__main__")
"""


def test_a_limit_on_the_size_of_files_loses_output_and_no_verdict(tmp_path: Path) -> None:
    target = local(tmp_path, f"{flood(300_000)}; echo last words; exit 7")
    target.runner = tmp_path / "runner.py"
    target.runner.write_text(LIMITED_RUNNER.format(runner=str(launching.RUNNER)), "utf-8")
    report = run(target)
    assert report.error.startswith("exit code 7") and report.error.endswith("last words")
    record = run_files.read(target.store.folder(target.token) / run_files.END)
    assert record and record["dropped_bytes"] > 0


class suppress_full:
    """A context that fills a disk to the last byte, and frees it at the end."""

    def __init__(self, filler: Path) -> None:
        self.filler = filler

    def __enter__(self) -> bool:
        with self.filler.open("wb", buffering=0) as file:
            size = 4096
            while size:
                try:
                    file.write(b"x" * size)
                except OSError:
                    size //= 2
        return True

    def __exit__(self, *_: object) -> None:
        self.filler.unlink()
