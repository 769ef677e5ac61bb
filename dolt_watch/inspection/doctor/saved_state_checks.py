"""The saved state against history: folded anew from where it was made, it must come out the
same.
"""

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
    "UPDATE watch_cursor SET rules = '' WHERE id = 1;   (the next tick then makes the state anew,"
    " and says so in history)"
)


def saved(case: DoctorContext) -> Iterator[Finding]:
    """Costs one pass over the commits since the state was made."""
    look, state = _consistent_read(case)
    engine = case.engine
    if not look.commit:
        yield ok("saved", "nothing saved yet")
        return
    if look.rules.get("now") != case.rule_hashes:
        fix = (
            "the next tick makes the state anew; if another process runs with other rules, give"
            " both the same dolt_watch.toml"
        )
        yield warning("saved", "folded under other rules than these, so not compared", fix)
        return
    if not (
        engine.is_ancestor(look.commit, look.head) and engine.is_ancestor(state.made, look.commit)
    ):
        yield ok("saved", "not compared: history does not hold where it was made (any more)")
        return
    folded, _, commits = HistoryReplayer(engine, case.policy, look.commit).replay_from(state.made)
    differences = list(_differences(state, folded))
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        yield failure("saved", f"not what history says: {'; '.join(differences[:3])}{more}", ANEW)
    else:
        yield ok(
            "saved",
            f"the same as history folded anew ({len(state.beads)} beads, {commits} commits)",
        )


def _consistent_read(case: DoctorContext) -> tuple[PollResult, State]:
    """Cursor and beads that belong together: a tick may save between the two reads."""
    look = Poller(case.engine).poll()
    while True:
        state = StateStore(case.engine).load(look)
        again = Poller(case.engine).poll()
        if again.saved == look.saved:
            return look, state
        look = again


def _differences(state: State, folded: State) -> Iterator[str]:
    for bead in sorted({*state.beads, *folded.beads}):
        have, expected = _cells(state.beads.get(bead)), _cells(folded.beads.get(bead))
        if not have or not expected:
            yield (
                f"{bead} is {'saved' if have else 'not saved'}, and should"
                f" {'not be' if have else 'be ' + str(expected['phase'])}"
            )
            continue
        for field in sorted({*have, *expected}):
            if have.get(field) != expected.get(field):
                yield (
                    f"{bead}: {field} is {have.get(field)!r}, and should be {expected.get(field)!r}"
                )
    if _since(state) != _since(folded):
        yield f"outages are of {_since(state)!r}, and should be of {_since(folded)!r}"
    for name in ("pauses", "cooldowns", "halted_rules", "claims", "busy"):
        if _plain(getattr(state, name)) != _plain(getattr(folded, name)):
            yield (
                f"{name} are {_plain(getattr(state, name))!r}, and should be"
                f" {_plain(getattr(folded, name))!r}"
            )


def _since(state: State) -> dict[str, str]:
    """Tries alone are in the saved state only."""
    return {name: outage.since.isoformat() for name, outage in state.outages.items()}


def _cells(bead: Bead | None) -> Mapping[str, Any]:
    cells: dict[str, Any] = _plain(encode_bead(bead)) if bead is not None else {}
    return cells


def _plain(value: Any) -> Any:
    """As JSON holds it, for that is what was saved."""
    return orjson.loads(orjson.dumps(value, default=lambda each: each._asdict()))
