"""The explanation of a bead: its history, and the value of each condition of its dispatch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import dropwhile
from typing import NamedTuple

from dolt_watch.core.decisions.manual_actions import Found
from dolt_watch.core.model import Bead, Event
from dolt_watch.engines import Commit, Engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.reader import HistoryReader, commits_of_bead, is_cut, whole_line
from dolt_watch.inspection.attempts import Attempt, BeadRow, attempts_of, read_rows, tokens_of
from dolt_watch.inspection.why.conditions import RuleEvaluation, evaluate_rule
from dolt_watch.inspection.why.decision_snapshot import DecisionSnapshot
from dolt_watch.sanitize import sanitize

SUGGESTION_POOL = 5_000
"""Maximum number of IDs among which similar ones are searched."""


class TimelineEntry(NamedTuple):
    """One commit, and its events for the bead."""

    commit: Commit
    events: tuple[Event, ...]


class Explanation(NamedTuple):
    """One bead: its history, its state, and each condition of its dispatch."""

    bead: str
    begins: Commit
    """The first commit of history."""
    from_the_beginning: bool
    """Whether the first commit contains the bead."""
    shallow: bool
    """Whether history begins at the boundary of a shallow clone. Older commits are only in its
    origin.
    """
    timeline: tuple[TimelineEntry, ...]
    snapshot: DecisionSnapshot
    phase: str
    """The bead's phase, or '' if the bead is not tracked."""
    state: Bead | None
    views: tuple[RuleEvaluation, ...]
    title: str = ""
    attempts: tuple[Attempt, ...] = ()
    """Newest first, as in ``log``."""

    @property
    def verdict(self) -> str:
        """Return one sentence: whether the bead is dispatched, and the reason."""
        matching = [view for view in self.views if view.matches]
        if len(self.views) == 1 or len(matching) == 1:
            return (matching or self.views)[0].verdict
        return f"{self.bead} will not be dispatched: it matches no rule."


def explain(
    engine: Engine, bead: str, until: str, take_snapshot: Callable[[], DecisionSnapshot]
) -> Explanation:
    """Return why a bead is dispatched or not.

    Args:
        until: The last commit of the history to read.
        take_snapshot: Returns the decision snapshot at that commit. It is called only if the bead
            exists.

    Raises:
        SettingsError: History contains no such bead.
    """
    # The bead's whole life, from the first commit that touched it.
    line = whole_line(engine, until)
    sql = "SELECT 1 FROM issues AS OF ? WHERE id = ?"
    from_the_beginning = bool(engine.query(sql, (line.first.hash, bead)))
    touched = list(commits_of_bead(engine, line.commits, bead))
    if not touched and not from_the_beginning:
        raise no_such_bead(engine, bead, until)
    # Then the present: state, plan and conditions of one commit.
    snapshot = take_snapshot()
    columns, policy = engine.columns("issues"), snapshot.policy
    query = snapshot.feed_query._replace(cells=list(columns), include_side_values=True)
    timeline = tuple(build_timeline(HistoryReader(engine, query, policy.rules), touched, bead))
    state, notes = snapshot.state.beads.get(bead), list(snapshot.notes)
    if state is not None and state.matches:
        notes += _other_matching_rules(engine, snapshot, bead, state.rule)
    # Attempts come from the ledger entries of the same timeline.
    last = [event.entry for step in timeline for event in step.events if event.entry is not None]
    rows = read_rows(engine, [bead], snapshot.commit)
    status = rows[bead].status if bead in rows else None
    here = Found(bead, state, status, last[-1] if last else None, "", snapshot.now)
    if here.blocked_by_us:
        notes.append(f"dolt_watch blocked it. `dolt_watch retry {bead}` reopens it.")
    snapshot = replace(snapshot, notes=tuple(notes))
    rules = [rule for rule in policy.rules if state is None or rule.name == state.rule]
    views = tuple(evaluate_rule(engine, rule, bead, snapshot, columns) for rule in rules)
    return Explanation(
        bead=bead,
        begins=line.first,
        from_the_beginning=from_the_beginning,
        shallow=is_cut(engine, line.first),
        timeline=timeline,
        snapshot=snapshot,
        phase=state.phase.value if state else "",
        state=state,
        views=views,
        title=rows.get(bead, BeadRow()).title,
        attempts=tuple(attempts_of(last, rows, snapshot.now, tokens_of(snapshot.state))),
    )


def build_timeline(
    reader: HistoryReader, touched: Sequence[Commit], bead: str
) -> Iterator[TimelineEntry]:
    """Yield the bead's commits with their events, oldest first.

    ``touched``: as ``commits_of_bead`` finds them.
    """
    for commit, _, events in reader.read(touched):
        if own := tuple(event for event in events if event.bead == bead):
            yield TimelineEntry(commit, own)


def no_such_bead(engine: Engine, bead: str, until: str) -> SettingsError:
    """Return an error that lists similar IDs. ``until``: the commit that was searched."""
    name = sanitize(bead, 80)
    if engine.query("SELECT 1 FROM issues WHERE id = ?", (bead,)):
        return SettingsError(
            f"History does not contain {name} yet: its row is not committed, or is newer.",
            where=f"commit {until}",
            fix="dolt_watch tick   (commits rows that were left uncommitted)",
        )
    rows = engine.query(f"SELECT id FROM issues AS OF '{until}' LIMIT {SUGGESTION_POOL}")
    near = get_close_matches(bead, [id for (id,) in rows], 3, 0.5)
    fix = f"did you mean {', '.join(near)}?" if near else "Run `bd list` to list the IDs."
    return SettingsError(
        f"There is no bead {name} in this history.", where=f"commit {until}", fix=fix
    )


def _other_matching_rules(
    engine: Engine, snapshot: DecisionSnapshot, bead: str, rule: str
) -> Iterator[str]:
    """Yield a sentence that names the rules after ``rule`` that the bead matches too, if any."""
    behind = [*dropwhile(lambda one: one.rule != rule, snapshot.feed_query.rules)][1:]
    if not behind:
        return
    conditions = ", ".join(one.when_row for one in behind)
    sql = f"SELECT {conditions} FROM issues AS OF ? WHERE id = ?"
    for row in engine.query(sql, (snapshot.commit, bead)):
        names = [one.rule for one, matches in zip(behind, row, strict=True) if matches]
        if names:
            applies = f"Rule {rule} applies, because it is the first in the file"
            yield f"{bead} matches rule {', '.join(names)} too. {applies}"
