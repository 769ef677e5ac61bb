"""Verification confirms an honest history and finds each kind of tampering."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dolt_watch.beads.readiness import Readiness
from dolt_watch.core.decisions import reap_policy
from dolt_watch.core.model import Capacity, Decision, EntryEffects, EntryKind, LedgerEntry
from dolt_watch.core.model.bead import UNKNOWN_WRITER
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.core.model.recorded_inputs import encode_answer
from dolt_watch.core.model.target_answers import Refused, Unknown
from dolt_watch.engines import Engine
from dolt_watch.ledger.codec import ENTRY_COLUMNS
from dolt_watch.ledger.writer import LedgerWriter
from dolt_watch.replay.verification import VerificationResult, _compare, verify
from tests.support.clocks import ShiftedClock
from tests.support.embedded_tracker import Light, gone_wrong
from tests.support.lines import build_reader

pytestmark = pytest.mark.long

HOUR = timedelta(hours=1)


@pytest.fixture
def day(doltlite: Engine) -> Light:
    """Return a tracker with claims in queue order and several outcomes.

    The outcomes are a failure, a busy answer, an unknown attempt and a reap.
    """
    return gone_wrong(doltlite, max_in_flight=2)


def found(here: Light) -> set[tuple[str, str]]:
    return {(one.bead, one.field) for one in verify(here.past()).differences}


def test_an_honest_day(day: Light) -> None:
    out: VerificationResult = verify(day.past())
    assert (out.differences, out.unverifiable.total(), out.planned_not_made) == ([], 0, [])
    assert out.same == sum(len(day.kinds(bead)) for bead in ("bd-a", "bd-b", "bd-c")) >= 10
    assert day.target.sent[0] == "bd-b"


@pytest.mark.parametrize(
    ("recorded", "computed"),
    [
        ({"sign": {"what": "notes", "who": "somebody", "commit": "c"}}, {"who": UNKNOWN_WRITER}),
        ({"why": "its row was freed, and nobody said so"}, {"why": "its row was freed"}),  # quoted
    ],
)
def test_words_of_earlier_releases_still_verify(
    recorded: dict[str, Any], computed: dict[str, Any]
) -> None:
    made = Decision(EntryKind.RENAMED, "a", "agent", 1, "c", detail=recorded)
    entry = LedgerEntry(
        bead="a",
        version=1,
        kind=made.kind,
        attempt=1,
        rule="agent",
        token="",
        cause="c",
        observed="c",
        at=datetime(2026, 4, 18, tzinfo=UTC),
        job="",
        reason="",
        bead_hash="",
        settings_hash="",
        actor="dolt-watch",
        detail=recorded,
        wrote=EntryEffects(),
    )
    if "sign" in recorded:
        computed = {"sign": {**recorded["sign"], **computed}}
    assert list(_compare(entry, made._replace(detail=computed))) == []
    nothing = {name: None for name in computed}
    assert [one.field for one in _compare(entry, made._replace(detail=nothing))] == [
        f"detail.{name}" for name in computed
    ]


def test_a_resync_is_replayed_before_the_first_decision_after_it(doltlite: Engine) -> None:
    here = Light(doltlite)
    here.assign("bd-a")
    here.tick()
    here.change(when="assignee = 'ann' AND status = 'open'")
    here.tick(2 * timedelta(minutes=1))
    here.assign("bd-b")
    reader = build_reader(
        doltlite, here.settings, lambda name: here.target, ShiftedClock(HOUR), here.lines.append
    )
    state, _ = reader.current_state()
    replayed = here.past().replay_from(state.made)
    assert (replayed.state.beads, replayed.settings.policy.rules) == (
        state.beads,
        here.settings.rules,
    )


def test_nothing_to_verify(doltlite: Engine) -> None:
    assert verify(Light(doltlite).past()).same == 0


@pytest.mark.parametrize("field", ["reason", "note"])
def test_idle_time_changed(day: Light, field: str) -> None:
    (bead,) = {b for b in ("bd-a", "bd-b", "bd-c") if "reap" in day.kinds(b)} or {"bd-b"}
    text = day.engine.query(
        "SELECT detail FROM watch_decision WHERE bead_id = ? AND kind = 'reap'", (bead,)
    )[0][0]
    detail = json.loads(text)
    detail["idle_seconds"] = 60
    _set(day, bead, "reap", "detail", json.dumps(detail))
    assert (bead, "row") in found(day)
    assert (bead, "detail.idle_seconds") in found(day)


def test_the_order_swapped(day: Light) -> None:
    """The recorded order of the claims is changed, although bd-b comes first by its priority."""
    for bead, other in (("bd-b", "'x'"), ("bd-a", "'bd-b'"), ("x", "'bd-a'")):
        day.sql(f"UPDATE watch_decision SET bead_id = {other} WHERE bead_id = '{bead}'")
    assert {"decision", "row"} <= {field for _, field in found(day)}


def test_a_decision_deleted(day: Light) -> None:
    day.sql("DELETE FROM watch_decision WHERE bead_id = 'bd-b' AND version = 1")
    assert {("bd-b", "version"), ("bd-b", "row")} <= found(day)


@pytest.mark.parametrize(("column", "value"), [("detail", "no JSON"), ("kind", "danced")])
def test_a_row_that_is_no_entry_is_counted(day: Light, column: str, value: str) -> None:
    columns = ", ".join(ENTRY_COLUMNS)
    other = {"version": "version + 9", column: f"'{value}'"}
    cells = ", ".join(other.get(name, name) for name in ENTRY_COLUMNS)
    day.sql(
        f"INSERT INTO watch_decision ({columns}) SELECT {cells} FROM watch_decision WHERE kind ="
        " 'reap'"
    )
    out = verify(day.past())
    assert (out.differences, dict(out.unverifiable)) == (
        [],
        {"the row is no entry of this release": 1},
    )


@pytest.mark.parametrize("kind", ["outage", "recovered", "dispatched"])
def test_the_copy_of_an_entry_is_found(day: Light, kind: str) -> None:
    """A copy under the next version equals what is computed on the commit that it observed."""
    day.target.answers.append(Refused("HTTP 502: x", 502, unreachable="target"))
    day.assign("bd-o")
    day.tick(timedelta(hours=3))
    day.tick(timedelta(hours=4))
    assert verify(day.past()).differences == []
    columns = ", ".join(ENTRY_COLUMNS)
    bead, text = day.engine.query(
        "SELECT bead_id, detail FROM watch_decision WHERE kind = ? ORDER BY decided_at DESC",
        (kind,),
    )[0]
    copied = {
        "version": "(SELECT MAX(version) + 1 FROM watch_decision WHERE bead_id = x.bead_id)",
        "detail": f"'{json.dumps({**json.loads(text), 'wrote': {}})}'",
    }
    cells = ", ".join(copied.get(name, name) for name in ENTRY_COLUMNS)
    day.sql(
        f"INSERT INTO watch_decision ({columns}) SELECT {cells} FROM watch_decision AS x WHERE"
        f" kind = '{kind}' AND bead_id = '{bead}' ORDER BY decided_at DESC LIMIT 1"
    )
    out = verify(day.past())
    assert [(one.bead, one.field) for one in out.differences] == [(bead, "version")]
    assert out.same == len(day.past().entries) - 1


def test_the_last_decision_deleted(day: Light) -> None:
    last = len(day.kinds("bd-b"))
    day.sql(f"DELETE FROM watch_decision WHERE bead_id = 'bd-b' AND version = {last}")
    assert ("bd-b", "row") in found(day)


def test_an_edit_forged(day: Light) -> None:
    """A forged hash shows another text of the bead at the time of the decision."""
    _set(day, "bd-b", "claim", "bead_hash", "0" * 32)
    assert ("bd-b", "row") in found(day)


def test_the_rule_altered(day: Light) -> None:
    (hash, text), *_ = day.engine.query("SELECT hash, text FROM watch_settings")
    assert '"stale_after":"30m"' in text
    day.sql(
        'UPDATE watch_settings SET text = REPLACE(text, \'"stale_after":"30m"\','
        f" '\"stale_after\":\"3h\"') WHERE hash = '{hash}'"
    )
    assert ("", "text") in found(day)
    assert any(field == "decision" for _, field in found(day)), (
        "what was reaped would not have been"
    )


def _set(day: Light, bead: str, kind: str, column: str, value: str) -> None:
    quoted = value.replace("'", "''")
    day.sql(
        f"UPDATE watch_decision SET {column} = '{quoted}' WHERE bead_id = '{bead}' AND kind ="
        f" '{kind}'"
    )


NOW = "2026-04-18T22:35:46+00:00"


@pytest.mark.parametrize(
    "given",
    [
        7,
        [],
        {"now": "soon"},
        {"now": NOW},
        {"now": NOW, "scope": 3, "answer": []},
        {"now": NOW, "made": []},
    ],
)
def test_what_somebody_else_wrote_into_given(day: Light, given: object) -> None:
    """A changed `given` is a difference or not verifiable, and all else is still verified."""
    text = day.engine.query(
        "SELECT detail FROM watch_decision WHERE bead_id = 'bd-b' AND version = 1"
    )[0][0]
    detail = json.dumps({**json.loads(text), "given": given})
    day.sql(f"UPDATE watch_decision SET detail = '{detail}' WHERE bead_id = 'bd-b' AND version = 1")
    out = verify(day.past())
    assert out.same > 0
    assert (
        out.unverifiable.total()
        + sum(one.bead == "bd-b" and one.field != "row" for one in out.differences)
        >= 1
    )


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("claim", {"now": "0001-01-01T00:00:00Z"}),
        ("busy", {"answer": {"is": "busy", "retry_after": "soon"}}),
        ("busy", {"answer": {"is": "busy", "retry_after": 1e300}}),
        ("failed", {"jitter": 1e308}),
    ],
)
def test_a_value_that_no_arithmetic_allows_stops_nothing(
    day: Light, kind: str, given: dict[str, Any]
) -> None:
    bead, version, text = day.engine.query(
        "SELECT bead_id, version, detail FROM watch_decision WHERE kind = ?", (kind,)
    )[0]
    detail = json.loads(text)
    detail["given"] |= given
    day.sql(
        f"UPDATE watch_decision SET detail = '{json.dumps(detail)}' WHERE bead_id = '{bead}' AND"
        f" version = {version}"
    )
    assert (bead, "row") in found(day)


def test_quarantined_after_it_was_never_heard_of(doltlite: Engine) -> None:
    """A decision that has the kind of an outcome entry verifies."""
    here = Light(doltlite, max_attempts=1)
    here.target.answers.append(Unknown("no answer"))
    here.assign("bd-a")
    here.tick()
    here.target.free = Capacity(1, idle=True)
    here.tick(timedelta(minutes=15))
    assert here.kinds("bd-a") == ["claim", "unknown", "quarantined"]
    out = verify(here.past())
    assert (out.same, out.differences) == (3, [])


def _child_of_deferred(here: Light) -> None:
    """Create bd-a first in the queue, with a deferred parent, and bd-b.

    `bd ready` omits bd-a, but the first readiness rule did not.
    """
    here.assign("bd-a", priority=0)
    here.assign("bd-b")
    here.sql(
        "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes,"
        " defer_until) VALUES ('bd-p', 't', '', '', '', '', '2999-01-01')",
        "INSERT INTO dependencies (issue_id, depends_on_id, type, created_by) "
        "VALUES ('bd-a', 'bd-p', 'parent-child', 'ann')",
    )


def test_a_decision_by_the_first_readiness_rule_verifies_by_it(
    doltlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Light(doltlite)
    _child_of_deferred(here)
    with monkeypatch.context() as before:
        before.setattr("dolt_watch.core.decisions.planner.READINESS", 1)
        before.setattr("dolt_watch.beads.readiness.unready_until_enough", lambda *_: Readiness())
        before.setattr("dolt_watch.ledger.writer.readiness", lambda *_: Readiness())
        here.tick()
    assert here.target.sent == ["bd-a"]
    assert (verify(here.past()).differences, verify(here.past()).same) == ([], 2)


def test_a_decision_verifies_by_the_rule_that_it_names(
    doltlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Light(doltlite)
    _child_of_deferred(here)
    with monkeypatch.context() as before:
        before.setattr("dolt_watch.core.decisions.planner.READINESS", 1)
        here.tick()
    assert here.target.sent == ["bd-b"]
    assert found(here) == {("bd-b", "decision")}, "the first rule would have claimed bd-a"


def test_readiness_is_decided_again_by_the_rule_of_bd_ready(doltlite: Engine) -> None:
    here = Light(doltlite)
    _child_of_deferred(here)
    here.tick()
    assert here.target.sent == ["bd-b"]
    assert (verify(here.past()).differences, verify(here.past()).same) == ([], 2)


@pytest.mark.parametrize("shape", ["1.2.2", "1.3"])
def test_a_bead_passed_over_for_a_wisp_is_recorded(doltlite: Engine, shape: str) -> None:
    """No commit contains the wisp, so the next bead's decision records the hold and verifies."""
    here = Light(doltlite, shape=shape, max_in_flight=2)
    here.assign("bd-a", priority=0)
    here.assign("bd-b")
    with here.engine.transaction() as tx:
        tx.execute(
            "INSERT INTO wisps (id, title, description, design, acceptance_criteria, notes) "
            "VALUES ('bd-wisp-1', 't', '', '', '', '')"
        )
        tx.commit()
    here.sql(
        "INSERT INTO dependencies (id, issue_id, depends_on_wisp_id, type, created_by) "
        "VALUES ('d1', 'bd-a', 'bd-wisp-1', 'blocks', 'ann')"
    )
    here.tick()
    assert here.target.sent == ["bd-b"]
    assert "holding bd-a: blocked by the wisp bd-wisp-1 (open)" in here.lines
    (detail,) = here.engine.query("SELECT detail FROM watch_decision WHERE kind = 'claim'")[0]
    assert json.loads(detail)["given"]["passed"] == {"bd-a": "unversioned"}
    assert (verify(here.past()).differences, verify(here.past()).same) == ([], 2)
    with here.engine.transaction() as tx:
        tx.execute("UPDATE wisps SET status = 'closed'")
        tx.commit()
    here.tick(2 * timedelta(minutes=1))
    assert here.target.sent == ["bd-b", "bd-a"]
    assert (verify(here.past()).differences, verify(here.past()).same) == ([], 4)


# -- codes instead of sentences --------------------


def _twice_not_found(here: Light) -> None:
    """Quarantine a bead that BeadBoard doesn't find twice in a row."""
    missing = Refused('HTTP 400: {"error":"Bead bd-q not found."}', 400, not_found=True)
    here.assign("bd-q")
    here.target.answers.extend([missing, missing])
    here.tick(timedelta(hours=3))
    here.tick(timedelta(hours=4))
    assert here.kinds("bd-q") == ["claim", "failed", "claim", "quarantined"]


def test_other_words_for_a_reason_or_a_note_are_no_difference(
    day: Light, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = verify(day.past())
    monkeypatch.setattr(
        "dolt_watch.core.decisions.reap_policy.whole_minutes", lambda span: "so many "
    )
    monkeypatch.setattr(
        "dolt_watch.core.decisions.attempt_recovery.whole_minutes", lambda span: "so many "
    )
    monkeypatch.setattr("dolt_watch.core.decisions.planner.iso", lambda moment: "some time")
    after = verify(day.past())
    assert (after.differences, after.same) == ([], before.same)
    assert {"reap", "claim"} <= {entry.kind.value for entry in day.past().entries}, (
        "these have other words now"
    )


def test_another_code_is_a_difference(day: Light, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dolt_watch.core.decisions.settlement.code_of", lambda answer: ReasonCode.REFUSED_FOR_GOOD
    )
    assert {field for _, field in found(day)} == {"reason_code"}


def test_a_code_changed_in_the_record_is_a_difference(day: Light) -> None:
    text = day.engine.query(
        "SELECT detail FROM watch_decision WHERE bead_id = 'bd-b' AND kind = 'failed'"
    )[0][0]
    detail = json.loads(text)
    assert detail["reason_code"] == "refused"
    _set(day, "bd-b", "failed", "detail", json.dumps({**detail, "reason_code": "bead-not-found"}))
    assert {("bd-b", "reason_code"), ("bd-b", "row")} <= found(day)


@pytest.mark.parametrize("field", ["retry_at", "idle_seconds"])
def test_another_deadline_or_span_is_a_difference(day: Light, field: str) -> None:
    rows = day.engine.query(
        "SELECT bead_id, version, detail FROM watch_decision ORDER BY bead_id, version"
    )
    bead, version, text = next(row for row in rows if field in json.loads(row[2]))
    detail = {**json.loads(text), field: "2026-04-18T00:00:00+00:00" if field == "retry_at" else 1}
    day.sql(
        f"UPDATE watch_decision SET detail = '{json.dumps(detail)}' WHERE bead_id = '{bead}' AND"
        f" version = {version}"
    )
    assert (bead, f"detail.{field}") in found(day)


def test_a_note_that_would_not_be_written_is_a_difference(
    day: Light, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaped = reap_policy._reaped
    monkeypatch.setattr(reap_policy, "_reaped", lambda *args: reaped(*args)._replace(note=""))
    assert {field for _, field in found(day)} == {"note"}


def test_entries_from_before_the_codes_verify(
    doltlite: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older programs wrote no codes into the detail or the answer."""
    write, keep = LedgerWriter._write, encode_answer
    here = Light(doltlite, max_in_flight=2)
    with monkeypatch.context() as old:
        old.setattr(
            LedgerWriter,
            "_write",
            lambda self, on, one, *more, **rest: write(self, on, _uncoded(one), *more, **rest),
        )
        old.setattr(
            "dolt_watch.controller.dispatch.encode_answer",
            lambda answer: _without(keep(answer), "not_found"),
        )
        here.goes_wrong()
        _twice_not_found(here)
    rows = [text for (text,) in here.engine.query("SELECT detail FROM watch_decision")]
    assert not any("reason_code" in text or "not_found" in text for text in rows)
    out = verify(here.past())
    assert (out.differences, out.unverifiable.total()) == ([], 0)
    assert out.same >= 10
    codes = {
        entry.kind.value: entry.reason_code for entry in here.past().entries if entry.bead == "bd-q"
    }
    assert codes["quarantined"] is ReasonCode.BEAD_NOT_FOUND


def _uncoded(decision: Decision) -> Decision:
    return decision._replace(reason_code=None)


def _without(kept: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in kept.items() if key != name}


def test_a_bead_that_is_not_found_twice_verifies_by_its_code(
    day: Light, monkeypatch: pytest.MonkeyPatch
) -> None:
    _twice_not_found(day)
    assert verify(day.past()).differences == []
    monkeypatch.setattr("dolt_watch.core.model.reason_codes.NOT_FOUND", "never said")
    assert verify(day.past()).differences == [], "no text is read where there is a code"
