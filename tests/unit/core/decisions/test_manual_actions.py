"""The effect of `retry` and `release` on a bead in each phase."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dolt_watch.core.decisions.manual_actions import (
    Answer,
    Found,
    NothingToDo,
    Refusal,
    release,
    retry,
    stop,
)
from dolt_watch.core.decisions.policy import sets_status
from dolt_watch.core.model import (
    Bead,
    Decision,
    EntryEffects,
    EntryKind,
    Event,
    EventKind,
    LedgerEntry,
    Phase,
    RuleMatch,
)
from dolt_watch.core.projection.event_deriver import is_ours
from dolt_watch.core.projection.projection import apply_to_bead
from tests.unit.core.decisions.test_planner import NOW, bead

MINUTE = timedelta(minutes=1)


def entry(kind: EntryKind, version: int = 3, **more: Any) -> LedgerEntry:
    made = LedgerEntry(
        "a",
        version,
        kind,
        2,
        "docs",
        "",
        "",
        "",
        NOW,
        "",
        "asked for",
        "",
        "",
        "tess",
        {},
        EntryEffects(),
    )
    return made._replace(**more)


def found(one: Bead | None, status: str | None = "open", last: EntryKind | None = None) -> Found:
    return Found("a", one, status, entry(last) if last is not None else None, "head", NOW)


def shape(answer: Answer) -> tuple[str, ...]:
    if isinstance(answer, Decision):
        was, row = str(answer.detail["was"]), str(answer.detail["row"])
        return (answer.kind.value, answer.token, answer.status, was, row)
    kind = "nothing" if isinstance(answer, NothingToDo) else "refused"
    return (kind, answer.why)


CLAIMED = bead("a", Phase.CLAIMED, token="t", deadline=NOW + MINUTE)
OVERDUE = CLAIMED._replace(deadline=NOW)
UNKNOWN = bead("a", Phase.UNKNOWN, token="t")
RUNNING = bead("a", Phase.RUNNING, token="t", job="j7")
OWN = bead("a", Phase.RUNNING)
SENDING = ("refused", "a is claimed. Its worker may be sending it until 2026-04-18T22:36:46Z.")


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (found(bead("a")), ("nothing", "a is already waiting")),
        (found(bead("a", Phase.QUARANTINED)), ("manual-retry", "", "", "quarantined", "open")),
        (found(bead("a", Phase.BACKOFF)), ("manual-retry", "", "", "backoff", "open")),
        (found(bead("a", Phase.HELD)), ("manual-retry", "", "", "held", "open")),
        (found(CLAIMED, "in_progress"), SENDING),
        (
            found(OWN, "in_progress"),
            ("refused", "a is in progress, but dolt_watch did not dispatch it."),
        ),
        (
            found(None, "blocked", EntryKind.REAP),
            ("manual-retry", "", "open", "blocked", "blocked"),
        ),
        (
            found(None, "blocked", EntryKind.GIVE_UP),
            ("manual-retry", "", "open", "blocked", "blocked"),
        ),
        (
            found(None, "blocked", EntryKind.DISPATCHED),
            ("refused", "a was not blocked by dolt_watch."),
        ),
        (found(None, "blocked"), ("refused", "a was not blocked by dolt_watch.")),
        (found(None, "closed", EntryKind.REAP), ("refused", "a is closed.")),
        (found(None, "open"), ("refused", "a matches no rule.")),
        (found(None, None, EntryKind.REAP), ("refused", "a was deleted.")),
    ],
)
def test_retry(here: Found, said: tuple[str, ...]) -> None:
    for word in (False, True):
        assert shape(retry(here, "tess", "why", word)) == said


@pytest.mark.parametrize("one", [OVERDUE, UNKNOWN, RUNNING, CLAIMED._replace(deadline=None)])
def test_an_agent_may_be_at_work_so_a_person_s_word_is_needed(one: Bead) -> None:
    here = found(one, "in_progress")
    refused = retry(here, "tess", "why", False)
    assert isinstance(refused, Refusal)
    assert "may be working on it, and a retry would start a second agent" in refused.why
    assert refused.fix == "When you know that none is, run `dolt_watch retry a --not-running`."
    assert ("job j7" in refused.why) is bool(one.job)
    made = retry(here, "tess", "why", True)
    assert shape(made) == ("manual-retry", "t", "open", one.phase.value, "in_progress")


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (found(RUNNING, "in_progress"), ("manual-release", "t", "", "running", "in_progress")),
        (found(UNKNOWN, "in_progress"), ("manual-release", "t", "", "unknown", "in_progress")),
        (found(OVERDUE, "in_progress"), ("manual-release", "t", "", "claimed", "in_progress")),
        (found(CLAIMED, "in_progress"), SENDING),
        (
            found(RUNNING, "open"),
            ("refused", "The row of a was set to open while its attempt is under way."),
        ),
        (found(OWN, "in_progress"), ("nothing", "a is already a user's own work")),
        (found(None, "closed"), ("nothing", "a is not tracked by dolt_watch")),
        (found(bead("a")), ("refused", "a is waiting and occupies no slot.")),
        (
            found(bead("a", Phase.QUARANTINED)),
            ("refused", "a is quarantined and occupies no slot."),
        ),
    ],
)
def test_release(here: Found, said: tuple[str, ...]) -> None:
    assert shape(release(here, "tess", "why")) == said


def left(
    status: str | None, one: Bead | None = None, kind: EntryKind = EntryKind.DISPATCHED
) -> Found:
    """Return a bead whose last attempt has this answer, and which is no longer under way."""
    return found(one, status)._replace(last=entry(kind, token="t1", job="j1"))


@pytest.mark.parametrize(
    ("here", "said"),
    [
        (found(RUNNING, "in_progress"), ("manual-stop", "t", "blocked", "running", "in_progress")),
        (found(UNKNOWN, "in_progress"), ("manual-stop", "t", "blocked", "unknown", "in_progress")),
        (found(OVERDUE, "in_progress"), ("manual-stop", "t", "blocked", "claimed", "in_progress")),
        (found(CLAIMED, "in_progress"), SENDING),
        (
            found(RUNNING, "open"),
            ("refused", "The row of a was set to open while its attempt is under way."),
        ),
        (found(OWN, "in_progress"), ("nothing", "a has no attempt under way")),
        (found(None, "closed"), ("nothing", "a has no attempt under way")),
        (found(bead("a", Phase.HELD, token="t")), ("nothing", "a has no attempt under way")),
        # A user took the bead out of its rule while it ran: its row stays as it is.
        (left("closed"), ("manual-stop", "t1", "", "closed", "closed")),
        (left("blocked"), ("manual-stop", "t1", "", "blocked", "blocked")),
        (left("open", bead("a")), ("manual-stop", "t1", "", "waiting", "open")),
        (left("open", kind=EntryKind.UNKNOWN), ("manual-stop", "t1", "", "open", "open")),
        (left("open", kind=EntryKind.FAILED), ("nothing", "a has no attempt under way")),
        (left(None), ("nothing", "a has no attempt under way")),
    ],
)
def test_stop(here: Found, said: tuple[str, ...]) -> None:
    assert shape(stop(here, "tess", "why")) == said


def test_a_stopped_bead_can_be_retried() -> None:
    stopped = found(None, "blocked", EntryKind.MANUAL_STOP)
    assert stopped.last is not None
    blocked = EntryEffects({"status": ("in_progress", "blocked")})
    ours = stopped._replace(last=stopped.last._replace(wrote=blocked))
    after = retry(ours, "tess", "why", False)
    assert shape(after) == ("manual-retry", "", "open", "blocked", "blocked")
    # A user had blocked it, and then stopped its run.
    assert shape(retry(stopped, "tess", "why", False))[0] == "refused"
    assert folded(RUNNING, EntryKind.MANUAL_STOP, RuleMatch(), token="t") is None


def test_what_the_entry_says() -> None:
    one = bead("a", Phase.QUARANTINED, attempt=5, cause="c9")
    made = retry(found(one), "tess", "it is back", False)
    assert isinstance(made, Decision)
    assert (made.rule, made.attempt, made.cause) == ("agent", 5, "c9")
    assert made.note == "dispatch retried by tess: it is back" and is_ours(made.note)
    blocked = retry(found(None, "blocked", EntryKind.REAP), "tess", "x", False)
    assert isinstance(blocked, Decision)
    assert (blocked.rule, blocked.attempt, blocked.cause) == ("docs", 2, "head")
    assert sets_status(blocked, "blocked"), "dolt_watch blocked it, and its row was read"
    released = release(found(RUNNING, "in_progress"), "tess", "mine")
    assert isinstance(released, Decision)
    assert is_ours(released.note) and released.job == "j7"
    stopped = stop(found(RUNNING, "in_progress"), "tess", "wrong files")
    assert isinstance(stopped, Decision) and is_ours(stopped.note)


def folded(before: Bead | None, kind: EntryKind, facts: RuleMatch, **more: Any) -> Bead | None:
    at = NOW + MINUTE
    said = entry(kind, version=9, at=at, **more)
    return apply_to_bead(before, Event(EventKind.LEDGER, "a", "c2", at, facts=facts, entry=said))


OPEN = RuleMatch("agent", (), (1,))
RUNS = RuleMatch("", ("agent",))


@pytest.mark.parametrize(
    "before",
    [
        bead("a", Phase.QUARANTINED, attempt=5, reason="no"),
        bead("a", Phase.BACKOFF, attempt=1, retry_at=NOW + MINUTE),
        bead("a", Phase.HELD, reason="lost"),
        UNKNOWN._replace(attempt=3, reverted=True),
        RUNNING,
    ],
)
def test_after_a_retry_it_is_due_and_counts_from_the_start(before: Bead) -> None:
    after = folded(before, EntryKind.MANUAL_RETRY, OPEN, token=before.token)
    assert after == Bead(
        "a",
        Phase.WAITING,
        "agent",
        NOW + MINUTE,
        "c2",
        matches=True,
        rank=(1,),
        matched_at=before.matched_at,
        version=9,
    )
    other = folded(before, EntryKind.MANUAL_RETRY, OPEN, token="other")
    assert other is not None and other.phase is before.phase


def test_what_we_had_blocked_enters_the_queue() -> None:
    after = folded(None, EntryKind.MANUAL_RETRY, OPEN)
    assert after is not None
    assert (after.phase, after.version, after.matched_at) == (Phase.WAITING, 9, NOW + MINUTE)
    assert folded(None, EntryKind.MANUAL_RETRY, RuleMatch()) is None
    assert folded(None, EntryKind.MANUAL_RELEASE, RUNS) is None


def test_a_retry_of_what_matches_no_more_leaves_it_as_its_row_is() -> None:
    assert folded(RUNNING, EntryKind.MANUAL_RETRY, RuleMatch(), token="t") is None


def test_after_a_release_it_is_a_person_s_own() -> None:
    before = RUNNING._replace(attempt=2, sign=None)
    after = folded(before, EntryKind.MANUAL_RELEASE, RUNS, token="t")
    assert after is not None
    assert (after.phase, after.token, after.job, after.attempt) == (Phase.RUNNING, "", "", 0)
    assert (after.since, after.sent_at, after.cause) == (NOW + MINUTE, NOW + MINUTE, "c2")
    waits = folded(before, EntryKind.MANUAL_RELEASE, OPEN, token="t")
    assert waits is not None and waits.phase is Phase.WAITING
