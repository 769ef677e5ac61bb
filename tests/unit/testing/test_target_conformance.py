"""The conformance suite for authors of targets fails where it should.

Each test breaks a correct target in one way.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Refused, Unknown
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.testing import TargetConformance


class Sound:
    """A correct service and its target, in memory. Each subclass breaks one method."""

    kind, name, timeout = "beadboard", "sound", 0.1
    secrets = ("s3cret-s3cret",)

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.mode = ""

    def target(self) -> Any:
        return self

    def runs(self) -> list[str]:
        return self.begun

    def stop_responding(self) -> None:
        self.mode = "silent"

    def respond_with_garbage(self) -> None:
        self.mode = "nonsense"

    def shut_down(self) -> None:
        self.mode = "away"

    def capacity(self) -> Capacity:
        return Capacity(0, self.mode, down=True) if self.mode else Capacity(1)

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        if self.mode == "away":
            return Refused("no service there")
        self.begun.append(task.bead)
        return Unknown(self.mode) if self.mode else Accepted(f"job-{len(self.begun)}")

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        return JobReport(Verdict.UNKNOWN)

    def close(self) -> None:
        pass


def wrong(name: str, make: Callable[..., Any]) -> type[Sound]:
    return type("Wrong", (Sound,), {name: make})


def sends_twice(self: Sound, task: BeadTask, token: str) -> Answer:
    Sound.dispatch(self, task, token)
    return Sound.dispatch(self, task, token)


def refuses_what_may_run(self: Sound, task: BeadTask, token: str) -> Answer:
    answer = Sound.dispatch(self, task, token)
    return Refused("no answer") if isinstance(answer, Unknown) else answer


def tells(self: Sound, task: BeadTask, token: str) -> Answer:
    answer = Sound.dispatch(self, task, token)
    return Unknown("Bearer s3cret-s3cret") if isinstance(answer, Unknown) else answer


WRONG: list[tuple[type[Sound], str, tuple[str, ...]]] = [
    (wrong("dispatch", sends_twice), "test_a_dispatch_is_one_run_with_a_name", ()),
    (wrong("dispatch", sends_twice), "test_nonsense_is_not_known", ()),
    (wrong("dispatch", refuses_what_may_run), "test_nonsense_is_not_known", ()),
    (
        wrong("dispatch", refuses_what_may_run),
        "test_no_answer_is_not_known_and_waits_no_longer_than_its_time_out",
        (),
    ),
    (wrong("dispatch", tells), "test_it_tells_no_secret", ("stop_responding",)),
    (
        wrong("dispatch", lambda self, task, token: Accepted("")),
        "test_a_dispatch_is_one_run_with_a_name",
        (),
    ),
    (
        wrong("dispatch", lambda self, task, token: Unknown("?")),
        "test_nobody_there_is_nothing_sent",
        (),
    ),
    (
        wrong("dispatch", lambda self, task, token: Refused("a\nb")),
        "test_nobody_there_is_nothing_sent",
        (),
    ),
    (
        wrong("capacity", lambda self: Capacity(5, idle=True)),
        "test_trouble_is_never_evidence_that_nothing_runs",
        ("shut_down",),
    ),
    (
        wrong("capacity", lambda self: Capacity(0)),
        "test_capacity_is_a_number_or_not_known_and_says_why",
        (),
    ),
    (
        wrong("verdict", lambda self, job, at: JobReport(Verdict.RUNNING)),
        "test_a_job_that_never_was_does_not_run",
        ("j",),
    ),
    (
        wrong("verdict", lambda self, job, at: JobReport(Verdict.LOST)),
        "test_trouble_is_no_verdict",
        ("shut_down",),
    ),
    (
        type("Wrong", (Sound,), {"kind": "nobody"}),
        "test_settings_know_its_kind_and_can_hold_its_keys",
        (),
    ),
]


def play(rig: Sound, test: str, more: tuple[str, ...]) -> None:
    method = getattr(TargetConformance(), test)
    names = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    fixtures = {"rig": rig, "target": rig}
    rest = iter(more)
    method(*(fixtures[name] if name in fixtures else next(rest) for name in names))


@pytest.mark.parametrize(
    ("kind", "test", "more"), WRONG, ids=[f"{row[1]}-{n}" for n, row in enumerate(WRONG)]
)
def test_it_fails_where_it_should_and_only_there(
    kind: type[Sound], test: str, more: tuple[str, ...]
) -> None:
    play(Sound(), test, more)
    with pytest.raises(AssertionError):
        play(kind(), test, more)
