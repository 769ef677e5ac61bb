"""Three clones with users and one watcher.

Users edit around a dispatch, push, pull, and resolve conflicts in every way. See
``stateful_clones``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.faults.stateful_clones import BEADS, CLONES, HERE, Team, template
from tests.stubs.beadboard import BeadBoardStub
from tests.support import servers
from tests.support.beads import SHAPES
from tests.support.servers import Server

WHO, BEAD = st.sampled_from(CLONES), st.sampled_from(BEADS)
TEXTS = st.sampled_from(["", "one", "two\nlines"])
COLUMNS = st.sampled_from(["title", "description", "design", "priority"])
STATUSES = st.sampled_from(["open", "open", "in_progress", "blocked", "closed", "deferred"])
STATUS_WORDS = ("open", "blocked", "in_progress")
WAYS = st.sampled_from(["ours", "theirs", "by hand"])
counted: Counter[str] = Counter()


class Everybody(RuleBasedStateMachine):
    server: Server
    folder: Path
    board: BeadBoardStub
    shape = ""
    made = 0

    @initialize(early=st.booleans())
    def begin(self, early: bool) -> None:
        """Start most histories with a bead that all clones have and that is dispatched here."""
        Everybody.made += 1
        self.team = Team(
            self.server,
            self.folder / "remote",
            self.folder / f"remote{self.made}",
            self.board,
            self.shape,
        )
        if early:
            return
        here = self.team.clones[HERE]
        for bead in BEADS:
            self.team.create(here, bead)
        self.team.push(here)
        for name in CLONES[1:]:
            self.team.pull(self.team.clones[name], "ours", "open")
        self.team.tick()

    @rule(who=WHO, bead=BEAD)
    def create(self, who: str, bead: str) -> None:
        self.team.create(self.team.clones[who], bead)

    @rule(who=WHO, bead=BEAD, column=COLUMNS, number=st.integers(0, 3))
    def edit(self, who: str, bead: str, column: str, number: int) -> None:
        self.team.edit(self.team.clones[who], bead, f"{column} = %s", number)

    @rule(who=WHO, bead=BEAD, text=TEXTS)
    def note(self, who: str, bead: str, text: str) -> None:
        """Append a note, as `bd note` does."""
        self.team.edit(
            self.team.clones[who], bead, "notes = CONCAT(notes, '\n', %s)", f"note {text}"
        )

    @rule(who=WHO, bead=BEAD, text=TEXTS)
    def notes(self, who: str, bead: str, text: str) -> None:
        self.team.edit(self.team.clones[who], bead, "notes = %s", text)

    @rule(who=WHO, bead=BEAD, status=STATUSES)
    def set_status(self, who: str, bead: str, status: str) -> None:
        started = (
            ", started_at = COALESCE(started_at, UTC_TIMESTAMP())"
            if status == "in_progress"
            else ""
        )
        self.team.edit(self.team.clones[who], bead, f"status = %s{started}", status)

    @rule(who=WHO, bead=BEAD, assignee=st.sampled_from(["agent", "agent", "bob", ""]))
    def assign(self, who: str, bead: str, assignee: str) -> None:
        self.team.edit(self.team.clones[who], bead, "assignee = %s", assignee)

    @rule(who=WHO, bead=BEAD, criteria=st.sampled_from(["must", "", "more"]))
    def criteria(self, who: str, bead: str, criteria: str) -> None:
        self.team.edit(self.team.clones[who], bead, "acceptance_criteria = %s", criteria)

    @rule(who=WHO, bead=BEAD)
    def comment(self, who: str, bead: str) -> None:
        self.team.comment(self.team.clones[who], bead)

    @rule(who=WHO, bead=BEAD, back=st.integers(0, 9))
    def older_row(self, who: str, bead: str, back: int) -> None:
        self.team.older_row(self.team.clones[who], bead, back)

    @rule(who=WHO)
    def push(self, who: str) -> None:
        self.team.push(self.team.clones[who])

    @rule(who=WHO, way=WAYS, status=STATUSES, then_push=st.booleans())
    def pull(self, who: str, way: str, status: str, then_push: bool) -> None:
        self.team.pull(self.team.clones[who], way, status)
        if then_push:
            self.team.push(self.team.clones[who])

    @rule(
        who=st.sampled_from(CLONES[1:]),
        bead=BEAD,
        what=st.sampled_from(["note", "title", *STATUS_WORDS]),
        way=WAYS,
        status=STATUSES,
        merge_here=st.booleans(),
        unseen=st.booleans(),
    )
    def teammate(
        self, who: str, bead: str, what: str, way: str, status: str, merge_here: bool, unseen: bool
    ) -> None:
        """Edit a bead there, with or without a pull before, merge on either side, and tick here."""
        team, there, here = self.team, self.team.clones[who], self.team.clones[HERE]
        if not merge_here:
            team.push(here)
        if not unseen:
            team.pull(there, "ours", "open")
        sets = {"note": "notes = CONCAT(notes, '\nhm')", "title": "title = CONCAT(title, '.')"}
        team.edit(there, bead, sets.get(what, f"status = '{what}'"))
        if not merge_here:
            team.pull(there, way, status)
        team.push(there)
        team.pull(here, way, status)
        team.tick()

    @rule(later=st.sampled_from([0, 0, 2]))
    def tick(self, later: int) -> None:
        self.team.tick(later)

    def teardown(self) -> None:
        if hasattr(self, "team"):
            self.team.tick()
            self.team.tick(2)
            self.team.close()
            counted["examples"] += 1
            counted.update(self.team.counted)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a separate server, because a remote is a folder that the server can access."""
    with servers.start_dolt(servers.own_dolt(), tmp_path_factory.mktemp("team")) as started:
        yield started


def run(server: Server, folder: Path, shape: str, examples: int, steps: int) -> None:
    counted.clear()
    template(server, folder / "remote", shape)
    with BeadBoardStub() as board:
        Everybody.server, Everybody.folder, Everybody.board, Everybody.shape = (
            server,
            folder,
            board,
            shape,
        )
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            Everybody,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            ),
        )
    print(f"\nbd {shape}: {dict(sorted(counted.items()))}")  # noqa: T201


@pytest.mark.parametrize("shape", SHAPES)
def test_never_twice_unless_somebody_set_it_free(
    server: Server, tmp_path: Path, shape: str
) -> None:
    run(server, tmp_path, shape, 3, 12)
    assert counted["sent"] > 0
    assert counted["merges"] > 0


@pytest.mark.slow
@pytest.mark.timeout(24 * 3600)
@pytest.mark.parametrize("shape", SHAPES)
def test_never_twice_at_length(server: Server, tmp_path: Path, shape: str) -> None:
    """DOLT_WATCH_CLONES_EXAMPLES sets the number of histories for each shape."""
    run(server, tmp_path, shape, int(os.environ.get("DOLT_WATCH_CLONES_EXAMPLES", "1000")), 20)
    assert counted["sent again"] > 0
    assert sum(counted[f"conflicts {way}"] for way in ("ours", "theirs", "by hand")) > 0
