"""Runs that fail within seconds. Several in a row bring their target down for a while."""

from __future__ import annotations

import time
from pathlib import Path

from tests.unit.targets.local.agents import ScriptTarget, local, run


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def failures(target: ScriptTarget, first: int, count: int) -> None:
    for number in range(first, first + count):
        assert run(target, f"{target.token}{number}", f"bd-{number}").failed


def test_three_beads_in_a_row_open_the_breaker(tmp_path: Path) -> None:
    clock = Clock()
    target = local(tmp_path, "echo no config; exit 1", now=clock)
    failures(target, 1, 2)
    assert not target.capacity().down
    failures(target, 3, 1)
    capacity = target.capacity()
    assert capacity.down and capacity.slots == 0
    assert (
        capacity.why == "the last 3 runs, on 3 beads, failed within seconds: exit code 1: no config"
    )
    clock.ahead = 61
    assert (target.capacity().down, target.capacity().slots) == (False, 1), "one run tries it"
    failures(target, 4, 1)
    clock.ahead = 119
    assert target.capacity().down, "the pause doubles"
    clock.ahead = 122
    assert not target.capacity().down
    clock.ahead = 0
    good = local(tmp_path, "exit 0", now=clock)
    run(good)
    assert (good.capacity().down, good.capacity().slots) == (False, 2)


def test_a_report_says_whose_fault_a_failure_at_the_start_is(tmp_path: Path) -> None:
    target = local(tmp_path, "exit 1")
    for number, at_fault in enumerate([False, False, True]):
        report = run(target, f"{target.token}{number}", f"bd-{number}")
        assert report.failed_at_start and report.target_failed is at_fault
    first = target.verdict(f"{target.token}0", None)
    assert first.target_failed, "a later report on the first run says the same"
    ended_well = run(local(tmp_path, "exit 0"), f"{target.token}9")
    assert not ended_well.failed_at_start and not ended_well.target_failed
    assert not target.verdict(f"{target.token}0", None).target_failed


def test_one_bead_that_fails_is_its_own_fault(tmp_path: Path) -> None:
    target = local(tmp_path, "exit 1")
    for number in range(5):
        run(target, f"{target.token}{number}", "bd-1")
    assert not target.capacity().down


def test_limits_and_stops_do_not_count(tmp_path: Path) -> None:
    target = local(tmp_path, "echo usage limit reached; exit 1")
    for number in range(4):
        run(target, f"{target.token}{number}", f"bd-{number}")
    assert not target.capacity().down
