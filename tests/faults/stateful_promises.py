"""The conditions after every step of the stateful test.

``World.sent`` checks the conditions of a dispatch call.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise

import orjson

from dolt_watch.beads import feed_query
from dolt_watch.checkpoint.poll import Poller, PollResult
from dolt_watch.checkpoint.state_store import StateStore
from dolt_watch.config import settings_hash
from dolt_watch.core.decisions.policy import Policy
from dolt_watch.core.model import IN_FLIGHT, Bead, EntryKind, Phase, State
from dolt_watch.core.projection.event_deriver import derive_events, is_ours
from dolt_watch.core.projection.projection import DELETED, Projection
from dolt_watch.history import change_feed, reader
from dolt_watch.history.rebuild import rebuild_state
from dolt_watch.replay.replayer import HistoryReplayer
from dolt_watch.replay.verification import verify
from tests.faults.stateful_history import History
from tests.faults.stateful_world import BOTH, World

MATCHES = "assignee = 'agent' AND status = 'open' AND acceptance_criteria <> ''"
RUNS = "assignee = 'agent' AND status = 'in_progress'"
READY = (
    "NOT EXISTS (SELECT 1 FROM dependencies d JOIN issues b ON b.id = d.depends_on_id "
    "WHERE d.issue_id = issues.id AND b.status <> 'closed')"
)


def check(world: World) -> None:
    """Check all conditions after a step."""
    check_streams(world)
    look = Poller(world.hand).poll()
    if look.head == look.commit:
        if look.head not in world.cursors:
            world.cursors.append(look.head)
        state = StateStore(world.hand).load(look)
        check_rows(world, look, state)
        check_fold(world, look, state)
        check_notes(world, state)


def check_streams(world: World) -> None:
    streams: dict[str, list[tuple[int, str, str, str]]] = {}
    for bead, *entry in world.rows(
        "SELECT bead_id, version, kind, token, detail FROM watch_decision ORDER BY bead_id, version"
    ):
        streams.setdefault(bead, []).append(tuple(entry))
    for bead, entries in streams.items():
        assert [version for version, *_ in entries] == list(range(1, len(entries) + 1)), (
            f"gaps in the stream of {bead}"
        )
        tokens = [token for _, kind, token, _ in entries if kind == EntryKind.CLAIM]
        assert len(set(tokens)) == len(tokens), "a token claimed twice"
        for _, kind, _, detail in entries:
            verdicts = (
                orjson.loads(detail)["given"].get("verdicts", {})
                if kind == EntryKind.REQUEUE
                else {}
            )
            assert verdicts.get(bead, [""])[0] != "running", (
                "requeued though its target says that it runs"
            )


def check_rows(world: World, look: PollResult, state: State) -> None:
    """Check that exactly the rows that match or run have a state that says the same."""
    (matching, running) = (
        {
            bead
            for (bead,) in world.rows(f"SELECT id FROM dolt_at_issues(?) WHERE {where}", look.head)
        }
        for where in (MATCHES, RUNS)
    )
    assert {bead.id for bead in state.beads.values() if bead.matches} == matching
    assert {bead.id for bead in state.beads.values() if bead.runs} == running
    for bead in state.beads.values():
        if bead.phase in (Phase.WAITING, Phase.BACKOFF, Phase.QUARANTINED, Phase.HELD):
            # A held bead may have no row. Its agent may run, and a branch may restore the row.
            assert bead.matches or bead.reason == DELETED, bead
        elif bead.phase in (Phase.RUNNING, Phase.UNKNOWN):
            assert bead.runs, bead
    flying = [bead for bead in state.beads.values() if bead.token and bead.phase in IN_FLIGHT]
    assert len({bead.token for bead in flying}) == len(flying) <= world.rule.max_in_flight, flying


def check_fold(world: World, look: PollResult, state: State) -> None:
    """Check that the saved state equals the state computed from history in one pass.

    The pass starts at the beginning or at the last resync. From the beginning, all fields are
    equal. After a rewrite, the changes are applied by way of the saved cursors. The same is true if
    main was fast-forwarded onto a merge in which it is the second parent. Then times, causes and
    reasons may differ, and phases may not.
    """
    rules = [world.rule]
    compiled, columns = world.compiled
    start, projection = world.base, Projection(State())
    if world.bent:
        for (detail,) in world.rows(
            "SELECT detail FROM watch_decision WHERE kind = 'resync' ORDER BY version"
        ):
            known = world.hand.commit_of(orjson.loads(detail)["to"])
            if known is not None and world.hand.is_ancestor(known.hash, look.head):
                start = known.hash
                projection = Projection(
                    rebuild_state(world.hand, start, known.date, rules, compiled, columns).state
                )
    stops = (
        [stop for stop in world.cursors if is_between(world, start, stop, look.head)]
        if world.bent
        else []
    )
    for since, until in pairwise([start, *stops, look.head]):
        line = reader.commit_path(world.hand.commits(since, until), since, until)
        assert line is not None
        for changes in change_feed.read_changes(
            world.hand, line, Poller(world.hand).tables, feed_query.FeedQuery(compiled, columns)
        ):
            projection.apply(derive_events(changes, rules))
    projection.commit = look.head
    anew = projection.state()
    if not world.bent:
        assert untried(anew)._replace(made=state.made) == untried(state), (
            f"folded again {anew}, saved {state}"
        )
    elif world.resyncs is None:
        here, there = (
            {bead.id: standing(bead) for bead in one.beads.values()} for one in (anew, state)
        )
        assert here == there, f"folded again {here}, saved {there}"


def untried(state: State) -> State:
    """Return the state without its tries of targets. Only the saved state contains them."""
    return state._replace(
        outages={
            name: one._replace(tries=0, next_at=one.since) for name, one in state.outages.items()
        }
    )


def is_between(world: World, start: str, stop: str, head: str) -> bool:
    return world.hand.is_ancestor(start, stop) and world.hand.is_ancestor(stop, head)


def standing(bead: Bead) -> tuple[object, ...]:
    """Return the fields that a resync restores."""
    return (bead.phase, bead.rule, bead.matches, bead.runs, bead.version, bead.token, bead.job)


def check_notes(world: World, state: State) -> None:
    """Check that notes of dolt_watch appear once, and that intact watched beads have all notes."""
    notes = dict(world.rows("SELECT id, notes FROM issues"))
    said: dict[str, Counter[str]] = {}
    for bead, kind, note in world.rows(
        "SELECT bead_id, kind, detail ->> '$.wrote.note' FROM watch_decision"
    ):
        if note and kind != EntryKind.NOTE:
            said.setdefault(bead, Counter()).update(note.splitlines())
    for bead in world.overwritten - state.beads.keys():
        world.torn.add(bead)
    for bead, text in notes.items():
        shown = Counter(line for line in text.split("\n") if is_ours(line))
        wanted = said.get(bead, Counter())
        lost = state.beads[bead].lost_note if bead in state.beads else ""
        if bead not in world.torn and not (
            lost or (bead in world.overwritten and bead not in state.beads)
        ):
            assert shown == wanted, f"the notes of {bead}"
        elif not world.rewrites:
            assert shown <= wanted, f"a note of {bead} is there twice"


def check_resynced(world: World) -> None:
    """Check after a tick that the ledger records the rewrite of history."""
    look = Poller(world.hand).poll()
    if world.resyncs is not None and look.head == look.commit:
        assert world.recorded_resyncs() > world.resyncs, (
            "a rewrite was resynced, and nothing says so"
        )
        world.resyncs = None


def check_replay(world: World, look: PollResult) -> None:
    """Check that verification reproduces every decision that it can decide again."""
    policy = Policy(
        world.settings.rules, world.settings.settle, settings_hash=settings_hash(world.settings)
    )
    out = verify(HistoryReplayer(world.hand, policy, look.head))
    # If main was fast-forwarded onto a merge, its times are those of another line than the watcher
    # followed.
    if not world.bent:
        assert (out.differences, out.unverifiable.total()) == ([], 0), (
            f"{out.differences}, {out.unverifiable}"
        )


def become_quiet(world: World, history: History) -> None:
    """Check that no bead waits or runs after users stop, agents finish, and time passes."""
    history.end_merge()
    world.service.slots, world.service.down = 9, False
    world.service.answers.clear()
    world.workers[0].tick(BOTH)
    world.switch(EntryKind.RESUME)
    quiet = 0
    for number in range(60):
        before = world.head()
        for worker in world.workers[number % 3 :]:
            worker.tick(BOTH)
        check(world)
        for run in world.service.runs:
            if run.alive:
                world.agent_ends(run.bead, "closed")
        world.clock.moment += timedelta(minutes=20)
        quiet = quiet + 1 if world.head() == before else 0
        if quiet > 6:
            break
    else:
        raise AssertionError("it does not become quiet")
    look = Poller(world.hand).poll()
    assert look.head == look.commit
    check_replay(world, look)
    state = StateStore(world.hand).load(look)
    waiting = {bead for (bead,) in world.rows(f"SELECT id FROM issues WHERE {MATCHES} AND {READY}")}
    quarantined = {bead.id for bead in state.beads.values() if bead.phase is Phase.QUARANTINED}
    assert waiting <= quarantined, f"left waiting: {waiting - quarantined}, {state.beads}"
    assert not world.rows(f"SELECT id FROM issues WHERE {RUNS}"), "left in progress"
    assert not [bead for bead in state.beads.values() if bead.lost_note], (
        "a lost note was never appended again"
    )
    for bead in quarantined:
        told = world.rows(
            "SELECT kind FROM watch_decision WHERE bead_id = ? ORDER BY version DESC LIMIT 1", bead
        )
        assert told == [(EntryKind.QUARANTINED.value,)] or told == [(EntryKind.NOTE.value,)], told
