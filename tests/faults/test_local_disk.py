"""Local runs on a disk that is full: bounded errors, and a verdict all the same."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolt_watch.core.model.target_answers import Refused
from dolt_watch.targets.local import run_files
from dolt_watch.testing.target_conformance import make_task
from tests.support.servers import unprivileged
from tests.unit.targets.local.agents import flood, local, run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB."""
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


class suppress_full:
    """Fill a disk to the last byte, and free it again."""

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
