"""The loop. ``dispatch``, ``reap``, ``tick`` and their dry runs are this loop with parts exchanged: which kinds of decision are taken, whose clock, who acts.

A round: look, feed, derive, fold, decide, handle the first decision; its commit comes back through the feed on the next round. When nothing
is left to do, cursor and state are saved in one transaction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dolt_watch import __version__, feed
from dolt_watch.core.decide import decide, questions, settling
from dolt_watch.core.derive import derive
from dolt_watch.core.fold import Projection
from dolt_watch.core.policy import UNCOMMITTED, Outside, Policy, Questions, Scope
from dolt_watch.core.rules import CompiledRule, compile_for, fingerprint
from dolt_watch.engines import WORKING, Engine
from dolt_watch.errors import Conflict, MergeInProgress, SchemaChanged, SettingsError, UnknownCommit
from dolt_watch.gates import readiness
from dolt_watch.look import Look, Looker, Seen, idle, nothing
from dolt_watch.migrate import check_database
from dolt_watch.model import Capacity, Hold, JobReport, Phase, State
from dolt_watch.resync import lost, resync
from dolt_watch.round import Actor, Outcome, Standing, Survey, announce, tell
from dolt_watch.store import Store
from dolt_watch.targets import Target
from dolt_watch.times import Clock

FIRST_START, REWRITTEN = "first start here", "history was rewritten"
TRIES = 40
"""Conflicts in a row before a tick gives up: each means that somebody else got ahead."""


class Loop:
    """One engine, one policy, the targets by name, one actor."""

    def __init__(
        self, engine: Engine, policy: Policy, rule_hashes: Mapping[str, str], targets: Callable[[str], Target],
        actor: Actor, clock: Clock, say: Callable[[str], None], *, adopt: bool = True, patient: bool = True, project_id: str | None = None,
    ) -> None:  # fmt: skip
        self.engine, self.policy, self.rule_hashes = engine, policy, dict(rule_hashes)
        self.targets, self.actor, self.clock, self.say = targets, actor, clock, say
        self.adopt = adopt
        self.patient = patient
        """A one-shot command waits at most ``settle``, once, and only where a decision depends on it."""
        self.project_id = project_id
        self.looker = Looker(engine)
        self.store = Store(engine)
        self._checked = False
        self._columns_anew = False
        """The cursor row's columns turned out to be of an older schema of beads."""

    def tick(self, scope: Scope, first: Look | None = None) -> Outcome:
        """Run the loop until nothing is left to do. ``first``: a look that was had already."""
        outcome, skip = Outcome(), set[str]()
        patient, conflicts = self.patient, 0
        while True:
            look, first = first or self.looker.look(), None
            now = self.clock.now(look.now)
            if idle(look, now, self.policy.settings_hash, scope.kinds, self.policy.settle, self.adopt):
                if not outcome.rounds:
                    self.say(nothing(look, scope.kinds))
                return outcome
            outcome.rounds += 1
            try:
                more, wait = self._round(look, now, scope, outcome, skip, patient)
            except MergeInProgress as error:
                self.say(f"{error.message} — skipping tick")
                return outcome
            except SchemaChanged:
                if self._columns_anew:
                    raise
                self._columns_anew = True
                continue
            except Conflict as error:
                conflicts += 1
                outcome.conflicts += 1
                if conflicts > TRIES:
                    raise Conflict(f"no way through in {TRIES} tries: {error.message}", fix="run it again") from error
                self.clock.sleep(random.uniform(0, 0.002 * min(conflicts, 20)))
                continue
            conflicts = 0
            if wait:
                patient = False
                self.clock.sleep(wait)
            elif not more:
                return outcome

    def peek(self) -> tuple[State, datetime]:
        """The state at HEAD, and the time: for commands that only read."""
        look = self.looker.look()
        now = self.clock.now(look.now)
        return self._at_head(look, now), now

    def _at_head(self, look: Look, now: datetime) -> State:
        check_database(self.engine, self.project_id)
        try:
            return self._peek(look, now)
        except SchemaChanged:
            self._columns_anew = True
            return self._peek(look, now)

    def _peek(self, look: Look, now: datetime) -> State:
        compiled, columns = self._compiled(look)
        state = self._catch_up(look, now, compiled, feed.Lens(list(compiled.values()), columns))
        if state is None:
            raise RuntimeError("a command that only reads was given somebody who acts")
        return state

    def survey(self, scope: Scope) -> Survey:
        """What would be decided now, and why not the rest; the targets' capacity taken as free."""
        look = self.looker.look()
        now = self.clock.now(look.now)
        state = self._at_head(look, now)
        compiled, columns = self._compiled(look)
        policy = self._with_directions(compiled)
        asked = questions(state, policy, now, scope)
        ready = [bead.id for rule in policy.rules if rule.ready for bead in asked.queues.get(rule.name, ())]
        holds = readiness(self.engine.query, ready, columns, now) if ready else {}
        plan = decide(state, policy, now, Scope(dispatch=scope.dispatch), asked, Outside(holds=holds))
        return Survey(look, state, now, plan, self.engine.merging())

    # -- one round --------------------------------------------------------------------------------------------------

    def _round(
        self, look: Look, now: datetime, scope: Scope, outcome: Outcome, skip: set[str], patient: bool
    ) -> tuple[bool, float]:
        """(go on, seconds to wait first). Raises Conflict."""
        if not self._checked:
            check_database(self.engine, self.project_id)
            self._checked = True
        compiled, columns = self._compiled(look)
        lens = feed.Lens(list(compiled.values()), columns)
        if look.merging:
            raise MergeInProgress()
        state = self._catch_up(look, now, compiled, lens)
        if state is None:
            return True, 0
        seen = self._seen(look, now)
        policy = self._with_directions(compiled)
        dirty = [table for table, one in seen.items() if one.dirty]
        loose = feed.uncommitted(self.engine, look.head, dirty, lens) if dirty else []
        if dirty and self.adopt:
            settled = max(seen[table].since for table in dirty) + policy.settle
            if settled <= now:
                if self.actor.adopt(look, dirty, sorted({row.bead for row in loose})):
                    return True, 0
            elif patient and self._matters(loose, state):
                self._save(look, now, seen, Questions())
                return True, (settled - now).total_seconds()
        asked = questions(state, policy, now, scope, skip)
        outside = self._ask(state, asked, now, columns, loose, outcome)
        plan = decide(state, policy, now, scope, asked, outside)
        outcome.holds = plan.holds
        if not plan.decisions:
            wait = settling(plan, asked, policy, now) if patient and scope.dispatch else 0.0
            if not wait:
                self._save(look, now, seen, asked)
                tell(self.say, state, plan, self.policy, now, scope, outcome)
            return bool(wait), wait
        standing = Standing(look, state, now, compiled, columns)
        report = self.actor.handle(plan, standing)
        if report is None:
            return False, 0
        skip.add(report.bead)
        outcome.count(report)
        announce(self.say, report)
        return True, 0

    def _compiled(self, look: Look) -> tuple[dict[str, CompiledRule], list[str]]:
        """Compiled text from the cursor row, so that a tick need not import sqlglot; compiled anew where it is of other rules."""
        cache = look.compiled
        columns: dict[str, str] = cache.get("columns", {})
        key = fingerprint(self.policy.rules, columns, self.engine.dialect, __version__)
        if cache.get("key") == key and not self._columns_anew:
            return {name: CompiledRule.from_json(text) for name, text in cache["rules"].items()}, list(columns)
        columns = self.engine.columns("issues")
        rules = {rule.name: compile_for(rule, columns, self.engine.dialect) for rule in self.policy.rules}
        self._fresh = {
            "key": fingerprint(self.policy.rules, columns, self.engine.dialect, __version__), "columns": columns,
            "rules": {name: rule.to_json() for name, rule in rules.items()},
        }  # fmt: skip
        return rules, list(columns)

    _fresh: Mapping[str, Any] | None = None

    def _with_directions(self, compiled: Mapping[str, CompiledRule]) -> Policy:
        descending = {name: rule.descending for name, rule in compiled.items()}
        return Policy(self.policy.rules, self.policy.settle, descending, self.policy.settings_hash)

    def _catch_up(
        self, look: Look, now: datetime, compiled: Mapping[str, CompiledRule], lens: feed.Lens
    ) -> State | None:
        """The state at HEAD: folded on from where it stands, or made anew. None: look again."""
        why = self._resync_why(look)
        if why is None:
            state = self._folded(look, lens)
            if state is not None and not (look.attempts and self.store.lost(state)):
                return state
            why = REWRITTEN
        return self._anew(why, look, now, compiled, lens)

    def _folded(self, look: Look, lens: feed.Lens) -> State | None:
        """Folded on from where it stands; None where history does not lead from there to HEAD."""
        state = self.store.state(look)
        if state.commit == look.head:
            return state
        line = self._line(state.commit, look.head)
        if line is None:
            return None
        projection = Projection(state)
        for changes in feed.read(self.engine, line, self.looker.tables, lens):
            projection.fold(derive(changes, self.policy.rules))
        projection.commit = look.head
        self.store.advance(look, projection.state(), projection.touched)
        return projection.state()

    def _anew(
        self, why: str, look: Look, now: datetime, compiled: Mapping[str, CompiledRule], lens: feed.Lens
    ) -> State | None:
        """The state made anew, which is a decision; None where something went into history for it: look again."""
        commit = self.engine.commit_of(look.head)
        date = commit.date if commit is not None else now
        found = resync(self.engine, look.head, date, self.policy.rules, list(compiled.values()), lens.columns)
        if why == FIRST_START and not found.entries:
            self.store.advance(look, found.state, None)
            return found.state
        missing = lost(self.store.live(look), found)
        held = (
            [bead.id for bead in found.state.beads.values() if bead.phase is Phase.WAITING]
            if why == FIRST_START
            else []
        )
        state = self.actor.resynced(Standing(look, found.state, now, compiled, lens.columns), why, missing, held)
        if state is not None or not missing:
            self.store.advance(look, state or found.state, None)
        return state

    def _resync_why(self, look: Look) -> str | None:
        if self.store.ahead(look):
            return None
        if not look.commit:
            return FIRST_START
        if look.rules.get("now") != self.rule_hashes:
            if self.rule_hashes in [was for was, _ in look.rules.get("was", [])]:
                raise SettingsError(
                    "another process runs with other rules on this database, and took over from these",
                    where="`when`, `running` or `order_by` of a rule",
                    fix="give all processes the same dolt_watch.toml, then run `dolt_watch init` with it",
                )
            return "the rules changed"
        return None

    def _line(self, since: str, head: str) -> list[Any] | None:
        """The commits from after ``since`` to ``head``; None where history does not lead there: it was rewritten."""
        try:
            return feed.path(self.engine.commits(since, head), since, head)
        except UnknownCommit:
            return None

    def _seen(self, look: Look, now: datetime) -> dict[str, Seen]:
        """Each table's working hash, since when it is seen, and whether it stands uncommitted."""
        if look.unchanged:
            return dict(look.seen)
        dirty = self.engine.changed_tables(look.head, WORKING)
        seen = {}
        for table, hash in look.hashes.items():
            before = look.seen.get(table)
            since = before.since if before is not None and before.hash == hash else now
            seen[table] = Seen(hash, since, table in dirty)
        return seen

    def _matters(self, loose: Sequence[Any], state: State) -> bool:
        """Would a decision depend on what stands uncommitted?"""
        return any(row.bead in state.beads or any(answer.matches for answer in row.answers) for row in loose)

    def _ask(
        self,
        state: State,
        asked: Questions,
        now: datetime,
        columns: Sequence[str],
        loose: Sequence[Any],
        outcome: Outcome,
    ) -> Outside:
        """Put the questions: gates first, and the targets only where somebody is left who could go."""
        holds: dict[str, Hold] = {}
        capacity: dict[str, Capacity] = {}
        verdicts: dict[str, JobReport] = {}
        stale = {bead.id for bead in asked.stale}
        for row in loose:
            if row.bead in stale:
                holds[row.bead] = Hold(UNCOMMITTED, f"uncommitted change in {row.table}: it is alive")
            elif row.table == "issues" and not any(answer.matches for answer in row.answers):
                holds[row.bead] = Hold(UNCOMMITTED, "an uncommitted change takes it out of its rule")
        for rule in self.policy.rules:
            queue = asked.queues.get(rule.name, ())
            if rule.ready and queue:
                holds |= readiness(self.engine.query, [bead.id for bead in queue], columns, now)
            waits = any(bead.id not in holds for bead in queue)
            doubts = any(bead.rule == rule.name for bead in asked.unknown)
            if (waits or doubts) and rule.target not in capacity:
                capacity[rule.target] = self.targets(rule.target).capacity()
            if waits and capacity[rule.target].down:
                outcome.down = True
        for bead in asked.stale:
            named = self.policy.rule(bead.rule)
            if bead.job and named is not None and bead.id not in holds:
                verdicts[bead.id] = self.targets(named.target).verdict(bead.job, bead.sent_at)
        return Outside(capacity, holds, verdicts)

    def _save(self, look: Look, now: datetime, seen: Mapping[str, Seen], asked: Questions) -> None:
        was = look.rules.get("was", [])
        if look.rules.get("now") not in (None, self.rule_hashes):
            was = [*was, [look.rules["now"], now.isoformat()]][-5:]
        rules = {"now": self.rule_hashes, "was": was, "settings": self.policy.settings_hash}
        self.actor.save(self.store, look, seen, asked.due, rules, self._fresh or look.compiled)
        self._columns_anew = False  # the cursor row has them now
