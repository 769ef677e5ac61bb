"""The check of the saved state: a replay from its last rebuild must give the same state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from dolt_watch.checkpoint.poll import Poller, PollResult
from dolt_watch.checkpoint.state_store import StateStore, encode_bead
from dolt_watch.core.model import Bead, State
from dolt_watch.inspection.doctor.context import DoctorContext
from dolt_watch.inspection.doctor.findings import Finding, failure, ok, warning
from dolt_watch.replay.replayer import HistoryReplayer

ANEW = (
    "UPDATE watch_cursor SET rules = '' WHERE id = 1;   (the next tick then rebuilds the state, and"
    " records that)"
)


def saved(case: DoctorContext) -> Iterator[Finding]:
    """Compare the saved state with a replay of the commits since it was built."""
    poll, state = _consistent_read(case)
    engine = case.engine
    if not poll.commit:
        yield ok("nothing saved yet")
        return
    # States under different rules differ without an error.
    if poll.rules.get("now") != case.rule_hashes:
        fix = (
            "no action is needed if only this process runs: the next tick rebuilds the state; if"
            " another process has other rules, give both the same dolt_watch.toml"
        )
        yield warning("not compared: it was built under other rules", fix)
        return
    # After a rewrite of history, the next tick rebuilds the state.
    if not (
        engine.is_ancestor(poll.commit, poll.head) and engine.is_ancestor(state.made, poll.commit)
    ):
        yield ok("not compared: history does not contain the commit that it was built from")
        return
    folded, _, commits = HistoryReplayer(engine, case.policy, poll.commit).replay_from(state.made)
    differences = list(_differences(state, folded))
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        yield failure(f"differs from history: {'; '.join(differences[:3])}{more}", ANEW)
    else:
        yield ok(f"same as a replay of history ({len(state.beads)} beads, {commits} commits)")


def _consistent_read(case: DoctorContext) -> tuple[PollResult, State]:
    """Read cursor and beads of one save: a tick may save between the two reads."""
    poll = Poller(case.engine).poll()
    while True:
        state = StateStore(case.engine).load(poll)
        again = Poller(case.engine).poll()
        if again.saved == poll.saved:
            return poll, state
        poll = again


def _differences(state: State, folded: State) -> Iterator[str]:
    for bead in sorted({*state.beads, *folded.beads}):
        have, expected = _cells(state.beads.get(bead)), _cells(folded.beads.get(bead))
        if not have or not expected:
            yield (
                f"{bead} is {'saved' if have else 'not saved'}, but must"
                f" {'not be' if have else 'be ' + str(expected['phase'])}"
            )
            continue
        for field in sorted({*have, *expected}):
            if have.get(field) != expected.get(field):
                yield (
                    f"{bead}: {field} is {have.get(field)!r}, but must be {expected.get(field)!r}"
                )
    if _since(state) != _since(folded):
        yield f"outages are {_since(state)!r}, but must be {_since(folded)!r}"
    for name in ("pauses", "cooldowns", "halted_rules", "claims", "busy"):
        if _plain(getattr(state, name)) != _plain(getattr(folded, name)):
            yield (
                f"{name} are {_plain(getattr(state, name))!r}, but must be"
                f" {_plain(getattr(folded, name))!r}"
            )


def _since(state: State) -> dict[str, str]:
    """Return target → start of its outage. Failed tries are only in the saved state."""
    return {name: outage.since.isoformat() for name, outage in state.outages.items()}


def _cells(bead: Bead | None) -> Mapping[str, Any]:
    cells: dict[str, Any] = _plain(encode_bead(bead)) if bead is not None else {}
    return cells


def _plain(value: Any) -> Any:
    """Return the value as JSON has it: the saved form."""
    return orjson.loads(orjson.dumps(value, default=lambda each: each._asdict()))
