"""``dolt_watch events``: history as a stream of derived events."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.core.model import Rule
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.inspection.event_stream import Follower
from tests.acceptance.conftest import Watch, rows_of
from tests.acceptance.test_why import reader
from tests.conformance.test_feed import committed
from tests.support import beads, servers
from tests.support.clocks import ShiftedClock

RULES = [Rule("agent")]


def events(
    watch: Watch, *more: str, env: dict[str, str] | None = None
) -> tuple[list[dict[str, Any]], str]:
    ran = watch.command("events", *more, env=env)
    assert ran.code == 0, ran
    return [json.loads(line) for line in ran.stdout.splitlines()], ran.stderr


def test_a_life_as_events(watch: Watch) -> None:
    bead = watch.assigned("told")
    watch.dispatch()
    watch.bd.run("comment", bead, "on it")
    watch.bd.close(bead)
    told, said = events(watch, "--bead", bead)
    assert "history begins at" in said
    assert {one["bead"] for one in told} == {bead}
    mine = [one for one in told if one["ours"]]
    assert [(one["kind"], one["rule"], one["who"]) for one in mine] == [
        ("claim", "agent", "beads-dispatcher"),
        ("dispatched", "agent", "beads-dispatcher"),
    ]
    assert (mine[0]["before"]["status"], mine[0]["after"]["status"]) == ("open", "in_progress")
    assert mine[1]["note"].startswith("dispatched: job=")
    matched = next(one for one in told if one["kind"] == "matched")
    assert (matched["rule"], matched["before"], matched["after"]["assignee"], matched["ours"]) == (
        "agent",
        {},
        "agent",
        False,
    )
    comment = next(one for one in told if one["table"] == "comments")
    assert (comment["kind"], comment["after"], comment["before"]) == (
        "sign-of-life",
        {"text": "on it"},
        {},
    )
    left = next(one for one in told if one["kind"] == "left")
    assert (left["before"]["status"], left["after"]["status"], left["rule"]) == (
        "in_progress",
        "closed",
        "agent",
    )
    assert [one["time"] for one in told] == sorted(one["time"] for one in told)
    assert all(datetime.fromisoformat(one["time"]).tzinfo for one in told)
    everything, _ = events(watch)
    assert len({one["id"] for one in everything}) == len(everything)
    assert [one for one in everything if one["bead"] == bead] == told


def test_from_and_to(watch: Watch) -> None:
    watch.bd.create("before")
    begin = watch.head()
    bead = watch.bd.create("within")
    end = watch.head()
    watch.bd.create("after")
    told, said = events(watch, "--from", begin, "--to", end[:12])
    assert ({one["bead"] for one in told}, said) == ({bead}, "")
    assert all(one["id"].startswith(f"{one['commit']}:{bead}:") for one in told)
    assert events(watch, "--from", end, "--to", end) == ([], "")
    assert watch.command("events", "--from", "what?").code == 2
    assert watch.command("events", "--follow", "--to", end).code == 2


def test_history_that_was_rewritten(watch: Watch) -> None:
    bead, gone = watch.bd.create("flattened"), watch.head()
    watch.bd.run("flatten", "--force")
    told, said = events(watch, "--from", gone)
    assert said.startswith(f"history no longer contains {gone}: it begins at ")
    assert bead in {one["bead"] for one in told}
    told, said = events(watch, "--from", "2020-01-01")
    assert (said.startswith("history begins at "), bead in {one["bead"] for one in told}) == (
        True,
        True,
    )


def test_as_cloudevents(watch: Watch) -> None:
    bead = watch.bd.create("in a cloud")
    told, _ = events(watch, "--bead", bead)
    cloud, _ = events(watch, "--bead", bead, "--format", "cloudevents")
    assert [one["data"] for one in cloud] == told
    for one in cloud:
        assert {
            name: one[name]
            for name in (
                "specversion",
                "id",
                "source",
                "type",
                "subject",
                "time",
                "datacontenttype",
            )
        } == {
            "specversion": "1.0",
            "id": one["data"]["id"],
            "source": f"/dolt_watch/{watch.bd.database}",
            "type": f"dolt_watch.{one['data']['kind']}",
            "subject": bead,
            "time": one["data"]["time"],
            "datacontenttype": "application/json",
        }


def test_as_a_user_who_may_only_read(watch: Watch) -> None:
    bead = watch.assigned("read")
    watch.dispatch()
    with reader(watch) as env:
        assert events(watch, "--bead", bead, env=env)[0] == events(watch, "--bead", bead)[0]


def test_on_another_branch_and_on_doltlite(watch: Watch, doltlite_path: FileAddress) -> None:
    bead = watch.bd.create("branched")
    watch.server.sql(
        "CALL DOLT_COMMIT('-Am', 'rest', '--allow-empty')",
        "CALL DOLT_BRANCH('side')",
        database=watch.bd.database,
    )
    update = f"UPDATE issues SET title = 'on the side' WHERE id = '{bead}'"
    watch.server.sql(
        update, "CALL DOLT_COMMIT('-am', 'side')", database=f"{watch.bd.database}/side"
    )
    here, there = events(watch)[0], events(watch, *watch.on_branch("side"))[0]
    assert there[: len(here)] == here
    assert [one["after"]["title"] for one in there[len(here) :]] == ["on the side"]
    engine = open_engine(doltlite_path, create=True)
    beads.create_beads(engine)
    committed(engine, rows_of(["bd-1"]))
    committed(engine, "UPDATE issues SET assignee = '' WHERE id = 'bd-1'")
    engine.close()
    address = ("--database", doltlite_path.url)
    assert [one["kind"] for one in events(watch, *address)[0]] == ["matched", "unmatched"]


# -- following --------------------


def polled(follower: Iterator[Any]) -> list[Any]:
    """Return the events of one poll."""
    found = []
    for each in follower:
        if each is None:
            return found
        found.append(each)
    raise AssertionError("it ended")


def test_following(watch: Watch) -> None:
    """Each event appears once, and a rewrite of history is reported."""
    said: list[str] = []
    begin = watch.head()
    follow = Follower(watch.engine, RULES, ShiftedClock(), said.append).follow(begin)
    assert polled(follow) == []
    first, second = watch.assigned("one"), watch.assigned("two")
    seen = polled(follow)
    assert {event.bead for passed in seen for event in passed.events} == {first, second}
    assert seen[-1].commit.hash == watch.head()
    assert polled(follow) == []
    watch.bd.run("flatten", "--force")
    assert (polled(follow), len(said)) == ([], 1)
    assert said[0].startswith("history was rewritten: it begins at ")
    watch.committed(rows_of(["bd-3"]))  # By SQL, because bd doesn't work after a flatten.
    assert {event.bead for passed in polled(follow) for event in passed.events} == {"bd-3"}
    assert len(said) == 1


def test_the_database_goes_away_for_a_while(tmp_path: Path) -> None:
    program = shutil.which("dolt")
    if program is None:
        pytest.skip("no dolt on PATH: this test stops its server, so it starts one")
    said: list[str] = []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(servers.start_dolt(program, tmp_path))
        address = server.fresh()
        engine = open_engine(address)
        beads.create_beads(engine)
        begin = committed(engine, rows_of(["bd-1"]))
        port = server.address.port
        follow = Follower(engine, RULES, ShiftedClock(), said.append).follow(begin)
        assert polled(follow) == []
    assert [polled(follow), polled(follow), len(said)] == [[], [], 1]
    with servers.start_dolt(program, tmp_path, port=port) as server:
        other = open_engine(ServerAddress(port=port, database=address.database))
        committed(other, "UPDATE issues SET title = 'back' WHERE id = 'bd-1'")
        assert [event.changed for passed in polled(follow) for event in passed.events]
        assert len(said) == 1
        other.close()
        engine.close()


@contextlib.contextmanager
def following(watch: Watch) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "dolt_watch", "events", "--follow", "--from", watch.head()]
    process = subprocess.Popen(
        command,
        cwd=watch.bd.path,
        env=dict(watch.env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_process_that_is_told_to_end(watch: Watch) -> None:
    with following(watch) as process:
        bead = watch.bd.create("comes while it stays on")
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()  # The output isn't buffered.
        assert json.loads(line)["bead"] == bead
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 0
        assert process.stderr.read() == b""


def test_a_process_whose_reader_goes(watch: Watch) -> None:
    """The process ends when it can't write the next event."""
    with following(watch) as process:
        watch.bd.create("read")
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        watch.bd.create("not read")
        assert process.wait(300) == 1
        assert process.stderr.read() == b""
        process.stdout = Path(os.devnull).open("rb")  # noqa: SIM115 (communicate closes it)
