"""The contract of every target, as tests.

Subclass ``TargetConformance`` and give it a fixture ``rig`` (docs/writing-a-target.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

import pytest

from dolt_watch.config.converters import READERS
from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.targets import registry
from dolt_watch.targets.protocol import BeadTask, Target

LONGEST_JOB = 255
TROUBLE = ("shut_down", "stop_responding", "respond_with_garbage")
"""The methods of a harness after which its service doesn't work."""
GRACE = 5.0
"""Seconds beyond its time-out after which a dispatch counts as hanging."""


class ServiceHarness(Protocol):
    """A service for one test, as real as the author can provide it, and targets on it."""

    kind: str
    """The kind of the target in the settings."""
    secrets: Sequence[str]
    """Secrets of the target that no output may contain: tokens, passwords."""

    def target(self) -> Target:
        """Return a new target on this service.

        Its time-out must be short, because tests wait for it.
        """

    def runs(self) -> Sequence[str]:
        """Return the beads of all runs that began so far, one item for each run."""

    def stop_responding(self) -> None:
        """From now on, accept requests and answer none."""

    def respond_with_garbage(self) -> None:
        """From now on, send answers that the real service would never send.

        Whether a run began need not be detectable.
        """

    def shut_down(self) -> None:
        """From now on, refuse connections: nothing can be sent."""


def make_task(bead: str = "bd-1", **columns: Any) -> BeadTask:
    """Return a bead as the dispatcher passes it, with all columns of an engine."""
    row = {
        "id": bead,
        "title": "Find the slow query",
        "description": "Pages take 3 s since Monday.",
        "design": "",
        "acceptance_criteria": "the query is named",
        "notes": "",
        "status": "open",
        "priority": 1,
        "issue_type": "bug",
        "assignee": "agent",
        "created_at": datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC),
        "updated_at": "2026-04-18 22:35:46",  # DoltLite returns text.
        "closed_at": None,
    }
    return BeadTask(bead, {**row, **columns}, "agent")


ODD: dict[str, dict[str, Any]] = {
    "empty": {"title": "", "description": None, "acceptance_criteria": ""},
    "unicode": {"title": "größer 👍 ‮ \u2028 \x00 \x1b[0m", "description": "“‘«»’”\r\n\t\\\"'"},
    "template": {"title": "{{ 7 * 7 }} {% raw %} ${x} $(touch x) `x` %s %(x)s {}"},
    "long": {"description": "ü" * 32_000, "notes": "x" * 65_535},
    "types": {
        "size": Decimal("1.5"),
        "blob": b"\xff\x00",
        "due_at": "0000-00-00",
        "flag": True,
        "big": 2**70,
    },
}
"""Beads with unusual values."""


class TargetConformance:
    """The conformance suite.

    Each test checks one sentence of the contract (``dolt_watch.targets.protocol``).
    """

    @pytest.fixture
    def rig(self) -> Iterator[ServiceHarness]:
        raise NotImplementedError("Define a fixture `rig` in your subclass.")

    @pytest.fixture
    def target(self, rig: ServiceHarness) -> Iterator[Target]:
        with closing(rig.target()) as target:
            yield target

    # -- what it is --------------------

    def test_settings_know_its_kind_and_can_hold_its_keys(self, rig: ServiceHarness) -> None:
        assert registry.is_kind(rig.kind)
        assert callable(registry.factory(rig.kind))
        keys = registry.setting_types(rig.kind)
        why = "its Settings must be a dataclass that extends TargetSettings"
        assert {"kind", "timeout"} <= set(keys), why
        why = "the types of keys must be those in docs/writing-a-target.md"
        assert set(keys.values()) <= set(READERS), why

    def test_it_says_who_it_is(self, target: Target) -> None:
        assert target.name and isinstance(target.name, str)
        assert 0 < target.timeout <= 3600

    def test_opening_and_closing_it_begins_nothing(self, rig: ServiceHarness) -> None:
        target = rig.target()
        target.close()
        target.close()
        assert list(rig.runs()) == []

    # -- capacity --------------------

    def test_capacity_is_a_number_or_not_known_and_says_why(
        self, rig: ServiceHarness, target: Target
    ) -> None:
        capacity = _capacity(target.capacity())
        assert not capacity.down, capacity.why
        assert list(rig.runs()) == [], "asking for the capacity must begin no run"

    @pytest.mark.parametrize("how", TROUBLE)
    def test_trouble_is_never_evidence_that_nothing_runs(
        self, rig: ServiceHarness, target: Target, how: str
    ) -> None:
        getattr(rig, how)()
        capacity = _capacity(target.capacity())
        assert not capacity.idle, "`idle` is evidence, because a second run is sent on it"

    # -- dispatch --------------------

    def test_a_dispatch_is_one_run_with_a_name(self, rig: ServiceHarness, target: Target) -> None:
        answer = target.dispatch(make_task("bd-7"), "token-7")
        assert isinstance(answer, Accepted), answer
        assert answer.job.strip() == answer.job and answer.job.isprintable()
        assert 0 < len(answer.job) <= LONGEST_JOB
        assert list(rig.runs()) == ["bd-7"]

    def test_each_token_is_a_run_of_its_own(self, rig: ServiceHarness, target: Target) -> None:
        answers = [target.dispatch(make_task("bd-7"), f"token-{number}") for number in range(2)]
        accepted = [answer for answer in answers if isinstance(answer, Accepted)]
        assert len({answer.job for answer in accepted}) == len(accepted) == len(rig.runs())

    @pytest.mark.parametrize("odd", ODD)
    def test_no_bead_is_too_odd(self, rig: ServiceHarness, target: Target, odd: str) -> None:
        answer = _answer(target.dispatch(make_task("bd-7", **ODD[odd]), "token-7"))
        assert list(rig.runs()) == (["bd-7"] if isinstance(answer, Accepted) else []), answer
        assert isinstance(answer, Accepted | Refused), answer

    def test_nobody_there_is_nothing_sent(self, rig: ServiceHarness, target: Target) -> None:
        rig.shut_down()
        answer = _answer(target.dispatch(make_task(), "token-1"))
        assert isinstance(answer, Refused), answer
        assert not answer.permanent and not answer.halts_rule, answer
        assert list(rig.runs()) == []

    def test_no_answer_is_not_known_and_waits_no_longer_than_its_time_out(
        self, rig: ServiceHarness, target: Target
    ) -> None:
        rig.stop_responding()
        began = time.monotonic()
        answer = _answer(target.dispatch(make_task(), "token-1"))
        assert time.monotonic() - began < target.timeout + GRACE
        assert _not_known(answer, target), answer
        assert len(rig.runs()) <= 1, "one token must be sent once"

    def test_nonsense_is_not_known(self, rig: ServiceHarness, target: Target) -> None:
        rig.respond_with_garbage()
        answer = _answer(target.dispatch(make_task(), "token-1"))
        assert _not_known(answer, target), answer
        assert len(rig.runs()) <= 1, "one token must be sent once"

    # -- verdict --------------------

    def test_its_word_on_a_run_that_began_is_not_that_it_is_lost(
        self, rig: ServiceHarness, target: Target
    ) -> None:
        answer = target.dispatch(make_task(), "token-1")
        assert isinstance(answer, Accepted), answer
        # The process may have ended in between, so the target must keep nothing in memory.
        with closing(rig.target()) as other:
            report = _report(other.verdict(answer.job, None))
        assert report.verdict is not Verdict.LOST
        assert len(rig.runs()) == 1, "asking must begin no run"

    @pytest.mark.parametrize("job", ["no-such-job", "", "../x?y#z", "ü\n\x00", "x" * LONGEST_JOB])
    def test_a_job_that_never_was_does_not_run(self, target: Target, job: str) -> None:
        report = _report(target.verdict(job, datetime(2026, 4, 18, tzinfo=UTC)))
        assert report.verdict in (Verdict.LOST, Verdict.UNKNOWN)

    @pytest.mark.parametrize("how", TROUBLE)
    def test_trouble_is_no_verdict(self, rig: ServiceHarness, target: Target, how: str) -> None:
        answer = target.dispatch(make_task(), "token-1")
        assert isinstance(answer, Accepted), answer
        getattr(rig, how)()
        assert _report(target.verdict(answer.job, None)).verdict is Verdict.UNKNOWN

    # -- optional parts --------------------

    def test_if_it_deduplicates_a_token_runs_once(
        self, rig: ServiceHarness, target: Target
    ) -> None:
        """A token that was used before must start nothing.

        Applies to targets with ``deduplicates = True``.
        """
        if not getattr(target, "deduplicates", False):
            return
        first = target.dispatch(make_task("bd-7"), "token-7")
        second = target.dispatch(make_task("bd-7"), "token-7")
        assert first == second and isinstance(first, Accepted)
        until = time.monotonic() + GRACE
        while not rig.runs() and time.monotonic() < until:
            time.sleep(0.02)  # An accepted run may begin a moment later.
        assert len(rig.runs()) == 1
        report = _report(target.settle("token-7"))  # type: ignore[attr-defined]
        assert report.verdict is not Verdict.UNKNOWN and report.started

    def test_if_it_deduplicates_what_never_started_never_will(
        self, rig: ServiceHarness, target: Target
    ) -> None:
        """``settle`` is evidence: another attempt is sent on it."""
        if not getattr(target, "deduplicates", False):
            return
        why = "it must name the site of its runs, because they are settled only there"
        assert getattr(target, "site", ""), why
        report = _report(target.settle("token-8"))  # type: ignore[attr-defined]
        assert report.verdict is Verdict.LOST and report.dead and not report.started
        if (stop := getattr(target, "stop", None)) is not None:  # As after each ended attempt.
            assert _report(stop("token-8", "somebody", "a reason")).dead
        assert isinstance(_answer(target.dispatch(make_task("bd-8"), "token-8")), Refused)
        assert list(rig.runs()) == []

    @pytest.mark.parametrize("how", TROUBLE)
    def test_if_it_deduplicates_trouble_settles_nothing(
        self, rig: ServiceHarness, target: Target, how: str
    ) -> None:
        if not getattr(target, "deduplicates", False):
            return
        getattr(rig, how)()
        assert _report(target.settle("token-9")).verdict is Verdict.UNKNOWN  # type: ignore[attr-defined]

    def test_if_it_stops_runs_they_are_dead(self, rig: ServiceHarness, target: Target) -> None:
        """Applies to targets with a method ``stop(job, by, reason)``."""
        stop = getattr(target, "stop", None)
        if stop is None:
            return
        answer = target.dispatch(make_task("bd-7"), "token-7")
        assert isinstance(answer, Accepted), answer
        report = _report(stop(answer.job, "somebody", "a reason"))
        assert report.dead and report.verdict is not Verdict.RUNNING
        assert _report(target.verdict(answer.job, None)).verdict is not Verdict.RUNNING
        missing = _report(stop("no-such-job", "somebody", "a reason"))
        assert missing.verdict in (Verdict.UNKNOWN, Verdict.LOST)

    def test_if_it_lists_live_runs_a_token_stops_one(
        self, rig: ServiceHarness, target: Target
    ) -> None:
        """Applies to targets with ``stop`` and ``live_tokens()``: an attempt may have no job id."""
        stop, live = getattr(target, "stop", None), getattr(target, "live_tokens", None)
        if stop is None or live is None:
            return
        answer = target.dispatch(make_task("bd-7"), "token-7")
        assert isinstance(answer, Accepted), answer
        assert _report(stop("token-7", "somebody", "a reason")).dead
        assert "token-7" not in live()
        assert _report(target.verdict(answer.job, None)).verdict is not Verdict.RUNNING

    def test_if_it_keeps_logs_they_are_bytes(self, rig: ServiceHarness, target: Target) -> None:
        """Applies to targets with a method ``logs(job, follow)``."""
        logs = getattr(target, "logs", None)
        if logs is None:
            return
        answer = target.dispatch(make_task("bd-7"), "token-7")
        assert isinstance(answer, Accepted), answer
        assert all(isinstance(piece, bytes) for piece in logs(answer.job, False))
        with pytest.raises(LookupError):
            list(logs("no-such-job", False))

    # -- secrets --------------------

    @pytest.mark.parametrize("how", ["", *TROUBLE])
    def test_it_tells_no_secret(self, rig: ServiceHarness, target: Target, how: str) -> None:
        if how:
            getattr(rig, how)()
        answers = (target.capacity(), target.dispatch(make_task(), "token-1"))
        shown = "\n".join(map(repr, (target, *answers, target.verdict("job-1", None))))
        assert not [secret for secret in rig.secrets if secret in shown]


def _capacity(capacity: Capacity) -> Capacity:
    assert isinstance(capacity, Capacity)
    assert capacity.slots is None or (type(capacity.slots) is int and capacity.slots >= 0)
    why = "if there is no slot, or the number is not known, `why` must say so"
    assert capacity.slots or capacity.why, why
    assert not (capacity.idle and capacity.down)
    return capacity


def _answer(answer: Answer) -> Answer:
    why = "it must be one of the four answers"
    assert isinstance(answer, Accepted | Refused | Busy | Unknown), why
    if not isinstance(answer, Accepted):
        assert answer.why, "it must not be empty, because users read it in the bead's notes"
        why = "it must be printable, because it is part of a note and a commit message"
        assert answer.why.isprintable(), f"{why} (use dolt_watch.targets.sdk.sanitize)"
    return answer


def _not_known(answer: Answer, target: Target) -> bool:
    """Return whether an answer admits that a run may have begun.

    A target that deduplicates may know that none has: it asks by the token, and prevents a later
    start.
    """
    return isinstance(answer, Unknown) or (
        isinstance(answer, Refused) and getattr(target, "deduplicates", False)
    )


def _report(report: JobReport) -> JobReport:
    assert isinstance(report, JobReport)
    assert isinstance(report.verdict, Verdict)
    return report
