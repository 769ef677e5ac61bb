"""Rewrites and merges of history in the stateful test, as DoltLite supports them."""

from __future__ import annotations

from dolt_watch.errors import DatabaseError
from tests.faults.stateful_world import DatedEngine, World


class History:
    """A writer of rewrites and merges, with its own connection and one side branch at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.side: DatedEngine | None = None
        self.moved: set[str] = set()
        """Beads that a user moved by hand on the side branch."""
        self.merging = False
        self.branches = 0

    def line(self) -> list[str]:
        """Return HEAD and its first parents, down to the first commit of the world."""
        parents = dict(
            self.world.rows(
                "SELECT commit_hash, parent_hash FROM dolt_commit_ancestors WHERE parent_index = 0"
            )
        )
        line = [self.world.head()]
        while line[-1] != self.world.base:
            line.append(parents[line[-1]])
        return line

    # -- rewrites --------------------

    def reset(self, back: int) -> None:
        """Reset to an older commit, as `dolt reset --hard` does."""
        line = self.line()
        if not self.merging and len(line) > 1:
            self.rewrite("--hard", line[min(back, len(line) - 1)])

    def flatten(self) -> None:
        """Squash everything since the beginning into one commit, as `bd flatten` does."""
        if not self.merging and len(self.line()) > 2:
            self.rewrite("--soft", self.world.base)
            self.world.commit("anna", "flatten")

    def rewrite(self, how: str, to: str) -> None:
        world = self.world
        world.rewrites += 1
        world.bent = True
        self.drop()
        world.hand.execute_sqlite("SELECT dolt_reset(?, ?)", (how, to))
        (cursor,) = world.rows("SELECT commit_hash FROM watch_cursor")[0]
        lost = not world.hand.is_ancestor(cursor, world.head())
        world.resyncs = world.recorded_resyncs() if lost else None
        kept = {
            token
            for (token,) in world.rows("SELECT token FROM watch_decision WHERE kind = 'claim'")
        }
        for run in world.service.runs:
            run.forgotten = run.forgotten or run.token not in kept
        world.torn |= {
            bead for (bead,) in world.rows("SELECT DISTINCT bead_id FROM watch_bead")
        } | world.every

    # -- a side branch --------------------

    def branch(self, bead: str, column: str) -> None:
        """Edit one bead on a branch."""
        if self.side is None:
            self.branches += 1
            self.side = DatedEngine(self.world.path, self.world.clock)
            self.side.execute_sqlite("SELECT dolt_checkout('-b', ?)", (f"side{self.branches}",))
        values = {
            "title": f"t{self.branches}",
            "assignee": "agent",
            "priority": 0,
            "status": "open",
        }
        self.side.execute_sqlite(
            f"UPDATE issues SET {column} = ? WHERE id = ?", (values[column], bead)
        )
        if column in ("assignee", "status"):
            self.moved.add(bead)
        self._commit(self.side, "on the side")

    def merge_first(self) -> None:
        """Merge the branch into main, which is the first parent."""
        self.begin_merge()
        self.end_merge()

    def merge_second(self) -> None:
        """Merge main into the branch, and fast-forward main. The old main is the second parent."""
        if self.side is None or self.merging:
            return None
        self.world.commit("anna", "rest")
        try:
            self.side.execute_sqlite("SELECT dolt_merge('main', '--no-commit')")
        except DatabaseError:
            return self.drop()  # There are conflicts, or nothing to merge.
        self._commit(self.side, "merge main")
        self._arrive()
        self.world.hand.execute_sqlite("SELECT dolt_merge(?)", (f"side{self.branches}",))
        self.world.bent = True
        return self.drop()

    def begin_merge(self) -> None:
        if self.side is None or self.merging:
            return None
        self.world.commit("anna", "rest")
        try:
            self.world.hand.execute_sqlite(
                "SELECT dolt_merge(?, '--no-commit', '--no-ff')", (f"side{self.branches}",)
            )
        except DatabaseError:
            return self.drop()
        self.merging = True
        return None

    def end_merge(self) -> None:
        if self.merging:
            self._arrive()
            self._commit(self.world.hand, "merge")
            self.merging = False
            self.drop()

    def _arrive(self) -> None:
        for bead in self.moved:
            self.world.step_in(bead)

    def _commit(self, engine: DatedEngine, what: str) -> None:
        engine.execute_sqlite(
            "SELECT dolt_commit('-A', '-m', ?, '--author', 'bo <bo@example.com>', '--allow-empty')",
            (what,),
        )

    def drop(self) -> None:
        if self.side is not None:
            self.side.close()
        self.side, self.moved = None, set()
