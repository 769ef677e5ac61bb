"""A rebuilt state equals the state with all changes applied, also if several rules match a bead."""

from __future__ import annotations

from dolt_watch.beads import feed_query
from dolt_watch.checkpoint.poll import WATCHED
from dolt_watch.core.decisions.candidates import queue_sort_key
from dolt_watch.core.model import Bead, Phase, Rule, State
from dolt_watch.core.projection.event_deriver import derive_events
from dolt_watch.core.projection.projection import Projection
from dolt_watch.core.rules.compiled_rule import compile_for
from dolt_watch.engines import Engine
from dolt_watch.history import change_feed, reader
from dolt_watch.history.rebuild import rebuild_state
from tests.acceptance.conftest import rows_of
from tests.conformance.test_feed import committed

RULES = [
    Rule("agent", when="assignee = 'agent' AND status = 'open'"),
    Rule("urgent", when="priority = 0", running="status = 'hooked'", order_by="title DESC"),
]


def stands(beads: dict[str, Bead]) -> dict[str, tuple[object, ...]]:
    return {
        id: (bead.phase, bead.rule, bead.matches, bead.runs, bead.rank)
        for id, bead in beads.items()
    }


def test_under_several_rules(beads_engine: Engine) -> None:
    engine = beads_engine
    first = committed(
        engine, rows_of(["waits", "runs", "runs and waits", "waits twice", "neither"])
    )
    head = committed(
        engine,
        "UPDATE issues SET status = 'in_progress' WHERE id LIKE 'runs%'",
        "UPDATE issues SET priority = 0 WHERE id IN ('runs and waits', 'waits twice')",
        "UPDATE issues SET assignee = 'ann' WHERE id = 'neither'",
    )
    columns = engine.columns("issues")
    compiled = [compile_for(rule, columns, engine.dialect) for rule in RULES]
    line = reader.commit_path(engine.commits(first, head), first, head)
    assert line is not None
    found = rebuild_state(engine, first, line[0].date, RULES, compiled, list(columns))
    projection = Projection(found.state)
    for changes in change_feed.read_changes(
        engine, line, WATCHED, feed_query.FeedQuery(compiled, list(columns))
    ):
        projection.apply(derive_events(changes, RULES))
    anew: State = rebuild_state(engine, head, line[0].date, RULES, compiled, list(columns)).state
    assert stands(anew.beads) == stands(projection.beads)
    assert {id: (bead.phase, bead.rule) for id, bead in anew.beads.items()} == {
        "waits": (Phase.WAITING, "agent"),
        "runs": (Phase.RUNNING, "agent"),
        "runs and waits": (Phase.WAITING, "urgent"),
        "waits twice": (Phase.WAITING, "agent"),
    }


def test_a_key_that_the_database_reckons_sorts_as_it_sorts(beads_engine: Engine) -> None:
    """Dolt divides to a DECIMAL. Sorted as text, 10 hours would come before 2."""
    engine = beads_engine
    rules = [
        Rule(
            "agent",
            when="status = 'open'",
            order_by="estimated_minutes / 60, estimated_minutes / 7",
        )
    ]
    first = committed(engine, rows_of(["ten", "two", "none", "half"]))
    head = committed(
        engine,
        "UPDATE issues SET estimated_minutes = CASE id WHEN 'ten' THEN 600 WHEN 'two' THEN 120 WHEN"
        " 'half' THEN 90 END",
    )
    columns = engine.columns("issues")
    compiled = [compile_for(rule, columns, engine.dialect) for rule in rules]
    line = reader.commit_path(engine.commits(first, head), first, head)
    assert line is not None
    projection = Projection(
        rebuild_state(engine, first, line[0].date, rules, compiled, list(columns)).state
    )
    for changes in change_feed.read_changes(
        engine, line, WATCHED, feed_query.FeedQuery(compiled, list(columns))
    ):
        projection.apply(derive_events(changes, rules))
    anew = rebuild_state(engine, head, line[0].date, rules, compiled, list(columns)).state
    assert {id: bead.rank for id, bead in anew.beads.items()} == {
        id: b.rank for id, b in projection.beads.items()
    }
    queue = sorted(anew.beads.values(), key=lambda bead: queue_sort_key(bead.rank, (), bead.id))
    assert [bead.id for bead in queue] == ["none", "half", "two", "ten"]
    assert all(isinstance(key, int | float | None) for bead in queue for key in bead.rank)
