"""Reading a run's output, including during rotation."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from dolt_watch.targets.local import run_files
from dolt_watch.targets.local.log_reader import read_output
from dolt_watch.targets.local.output_log import OutputLog
from tests.unit.targets.local.agents import ended, local, start


def test_what_is_kept_is_read_oldest_first(tmp_path: Path) -> None:
    log = OutputLog(tmp_path, 20)
    for number in range(10):
        log.write(b"%04d\n" % number)
    assert b"".join(read_output(tmp_path)) == b"0006\n0007\n0008\n0009\n"
    assert (log.received, log.dropped) == (50, 0)


def test_a_run_is_followed_to_its_end_over_rotations(tmp_path: Path) -> None:
    script = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.05; done"
    target = local(tmp_path, script, log_size=8)
    start(target, target.token)
    folder = target.store.folder(target.token)

    def lives() -> bool:
        found = target.store.read(target.token)
        return found is not None and found.lives

    followed = b"".join(read_output(folder, lives, lambda: time.sleep(0.005)))
    assert followed == b"1\n2\n3\n4\n5\n6\n"


def test_output_that_comes_while_it_is_read_does_not_hold_the_reader(tmp_path: Path) -> None:
    log = OutputLog(tmp_path, 20)
    log.write(b"0000\n")
    for number, _ in enumerate(read_output(tmp_path)):
        assert number < 10
        log.write(b"again, and again\n")


def test_a_rotation_between_two_pieces_loses_none_of_them(tmp_path: Path) -> None:
    log = OutputLog(tmp_path, 20)
    for number in range(4):
        log.write(b"%04d\n" % number)
    output = read_output(tmp_path)
    found = next(output)
    for number in range(4, 6):
        log.write(b"%04d\n" % number)
    assert found + b"".join(output) == b"0000\n0001\n0002\n0003\n"


def test_a_log_that_cannot_be_written_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    log = OutputLog(tmp_path, 100)
    log.write(b"x" * 50)
    assert log.dropped == 50 and bytes(log.tail) == b"x" * 50


def test_on_a_full_disk_output_is_dropped_and_the_end_is_known(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/full")  # each write fails with ENOSPC
    log = OutputLog(tmp_path, 100)
    log.write(b"x" * 50)
    assert (log.received, log.dropped, bytes(log.tail)) == (50, 50, b"x" * 50)


def test_a_log_deleted_under_its_run_does_no_harm(tmp_path: Path) -> None:
    target = local(tmp_path, "echo one; read x < gate; echo two; exit 5", log_size=8)
    os.mkfifo(tmp_path / "gate")
    start(target, target.token)
    folder = target.store.folder(target.token)
    while not (folder / "log").exists():
        time.sleep(0.01)
    (folder / "log").unlink()
    (tmp_path / "gate").write_text("go\n", "utf-8")
    assert ended(target, target.token).error == "exit code 5: one / two"


def test_space_is_reserved_where_the_disk_does_not_offer_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuses)
    run_files.reserve(tmp_path)
    for name, size in run_files.RESERVED.items():
        assert (tmp_path / f".{name}").stat().st_size == size
    run_files.write_reserved(tmp_path, run_files.END, {"exit": 0})
    run_files.write_reserved(tmp_path, run_files.END, {"exit": 1})
    assert run_files.read(tmp_path / run_files.END) == {"exit": 1}
    with pytest.raises(ValueError, match="are reserved"):
        run_files.write_reserved(tmp_path, run_files.STOP, {"reason": "x" * 5000})
