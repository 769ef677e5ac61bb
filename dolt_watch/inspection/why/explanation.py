"""Why a bead goes, or does not: its life so far, where it stands, and every condition with its
value.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import NamedTuple

from dolt_watch.beads.queue_readiness import other_matching_rules
from dolt_watch.core.decisions.manual_actions import Found
from dolt_watch.core.model import Bead
from dolt_watch.engines import Commit, Engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.reader import HistoryReader, commits_of_bead, is_cut, whole_line
from dolt_watch.inspection.why.bead_timeline import TimelineEntry, build_timeline
from dolt_watch.inspection.why.conditions import RuleEvaluation, evaluate_rule
from dolt_watch.inspection.why.decision_snapshot import DecisionSnapshot
from dolt_watch.sanitize import sanitize

SUGGESTION_POOL = 5_000
"""Ids among which the nearest are looked for."""


class Explanation(NamedTuple):
    bead: str
    begins: Commit
    """Where history begins."""
    from_the_beginning: bool
    """Was it there already then?"""
    shallow: bool
    """History begins at the boundary of a shallow clone: older commits are in its origin only."""
    deeds: tuple[TimelineEntry, ...]
    stands: DecisionSnapshot
    phase: str
    """'' for none."""
    state: Bead | None
    views: tuple[RuleEvaluation, ...]


def explain(
    engine: Engine, bead: str, until: str, stand: Callable[[], DecisionSnapshot]
) -> Explanation:
    """``stand``: how it stands at ``until``; asked only once the bead is known.

    Raises SettingsError where there is no such bead.
    """
    line = whole_line(engine, until)
    sql = "SELECT 1 FROM issues AS OF ? WHERE id = ?"
    from_the_beginning = bool(engine.query(sql, (line.first.hash, bead)))
    touched = list(commits_of_bead(engine, line.commits, bead))
    if not touched and not from_the_beginning:
        raise no_such_bead(engine, bead, until)
    stands = stand()
    columns, policy = engine.columns("issues"), stands.policy
    query = stands.lens._replace(cells=list(columns), include_side_values=True)
    deeds = tuple(build_timeline(HistoryReader(engine, query, policy.rules), touched, bead))
    state = stands.state.beads.get(bead)
    if (
        state is not None
        and state.matches
        and state.rule in [one.rule for one in stands.lens.rules]
    ):
        too = other_matching_rules(engine.query, stands.lens.rules, bead, state.rule, stands.commit)
        stands = stands._replace(notes=(*stands.notes, too)) if too else stands
    last = [event.entry for deed in deeds for event in deed.events if event.entry is not None]
    status = engine.query(
        f"SELECT status FROM issues AS OF '{stands.commit}' WHERE id = ?", (bead,)
    )
    here = Found(
        bead, state, status[0][0] if status else None, last[-1] if last else None, "", stands.now
    )
    if here.blocked_by_us:
        told = f"dolt_watch blocked it: `dolt_watch retry {bead}` sets it open again"
        stands = stands._replace(notes=(*stands.notes, told))
    rules = [rule for rule in policy.rules if state is None or rule.name == state.rule]
    views = tuple(evaluate_rule(engine, rule, bead, stands, columns) for rule in rules)
    return Explanation(
        bead=bead,
        begins=line.first,
        from_the_beginning=from_the_beginning,
        shallow=is_cut(engine, line.first),
        deeds=deeds,
        stands=stands,
        phase=state.phase.value if state else "",
        state=state,
        views=views,
    )


def no_such_bead(engine: Engine, bead: str, until: str) -> SettingsError:
    """An error with the nearest ids. ``until``: the commit that was asked."""
    name = sanitize(bead, 80)
    if engine.query("SELECT 1 FROM issues WHERE id = ?", (bead,)):
        return SettingsError(
            f"history does not hold {name} yet: its row stands uncommitted, or came later",
            where=f"commit {until}",
            fix="dolt_watch tick   (adopts what is left uncommitted)",
        )
    ids = [
        id
        for (id,) in engine.query(f"SELECT id FROM issues AS OF '{until}' LIMIT {SUGGESTION_POOL}")
    ]
    near = get_close_matches(bead, ids, 3, 0.5)
    fix = f"did you mean {', '.join(near)}?" if near else "`bd list` names them"
    return SettingsError(
        f"there is no bead {name}, and never was one in this history",
        where=f"commit {until}",
        fix=fix,
    )
