"""Monitoring of one-shot commands: metrics in a file, and a dead man's switch."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.conftest import Watch
from tests.stubs.server import Recorded, Reply, StubServer


class Switch(StubServer):
    def answer(self, request: Recorded) -> Reply:
        return Reply(200, "ok")


def test_metrics_in_a_file(watch: Watch, tmp_path: Path) -> None:
    file = tmp_path / "dolt_watch.prom"
    first = watch.assigned("first", "-p", "0")
    watch.assigned("second")
    ran = watch.command("dispatch", "--metrics-file", str(file), "--set", "settle=0s")
    assert (ran.code, watch.sent()) == (0, [first]), ran
    text = file.read_text()
    assert 'dolt_watch_posts_total{outcome="accepted"} 1.0' in text
    assert 'dolt_watch_beads{phase="waiting",rule="agent"} 1.0' in text
    file.unlink()
    watch.command("dispatch", "--set", "settle=0s")
    # An idle tick writes the file too.
    ran = watch.command(
        "dispatch", "--set", "settle=0s", env={"DOLT_WATCH_METRICS_FILE": str(file)}
    )
    assert ran.code == 0, ran
    assert 'dolt_watch_held_beads{gate="max_in_flight"} 1.0' in file.read_text()
    ran = watch.command("reap", "--metrics-file", str(tmp_path / "none" / "x.prom"))
    assert (ran.code, "Can't write the metrics" in ran.stderr) == (2, True), ran


def test_a_dead_man_s_switch(watch: Watch) -> None:
    with Switch() as switch:
        env = {"DOLT_WATCH_PING_URL": f"{switch.url}/ping/1"}
        for _ in range(2):  # The second tick is idle.
            assert watch.command("tick", env=env).code == 0
        assert [request.path for request in switch.requests] == ["/ping/1", "/ping/1"]
        assert watch.command("tick", "--dry-run", env=env).code == 0
        assert watch.command("dispatch", "--dry-run", env=env).code == 0
        assert len(switch.requests) == 2, "a dry run sends nothing, an idle one neither"
        watch.board.answer_next(500, "boom")
        watch.assigned("fails")
        assert watch.command("tick", "--set", "settle=0s", env=env).code == 1
        assert watch.command("tick", "--dry-run", env=env).code == 0
        assert len(switch.requests) == 2, "after a good tick only"
    assert watch.command("tick", env=env).code == 0, (
        "what becomes of the ping is nobody's concern here"
    )
