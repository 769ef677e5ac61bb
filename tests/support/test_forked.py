"""A fork of the fork server behaves like a start of Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from tests.standin import launcher
from tests.support import beads, forked
from tests.support.embedded_tracker import Light
from tests.support.servers import Choice, Server, Source, give_up

WAYS = ("fork", "process")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return each way to run a program: by a fork, and by a start of Python."""
    monkeypatch.delenv(forked.PROCESSES, raising=False)
    if request.param == "process":
        monkeypatch.setenv(forked.PROCESSES, "1")
    elif not forked.forks({}):
        give_up(Choice(Source.SKIP, "no fork server: this system is not Linux"))
    return str(request.param)


def env(folder: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), **more}


def test_exit_code_and_streams(way: str, tmp_path: Path) -> None:
    done = forked.dolt_watch(["--version"], cwd=tmp_path, env=env(tmp_path))
    assert (done.returncode, done.stdout.startswith("dolt_watch "), done.stderr) == (0, True, "")
    done = forked.dolt_watch(["statu"], cwd=tmp_path, env=env(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean status?" in done.stderr


def test_folder_environment_and_file(way: str, tmp_path: Path) -> None:
    more = {"DOLT_WATCH_DATABASE": "doltlite:///x.db", "DOLT_WATCH_SETTLE": "47s"}
    with (tmp_path / "out").open("w") as out:
        done = forked.dolt_watch(["config"], cwd=tmp_path, env=env(tmp_path, **more), stdout=out)
    assert (done.returncode, done.stdout, done.stderr) == (0, None, "")
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert "47s" in text
    again = forked.dolt_watch(
        ["config"], cwd=tmp_path.parent, env=env(tmp_path, DOLT_WATCH_DATABASE="doltlite:///x.db")
    )
    assert again.returncode == 0 and "47s" not in again.stdout, (
        "a run leaves nothing to the next one"
    )


def test_streams_together(way: str, tmp_path: Path) -> None:
    done = forked.dolt_watch(["statu"], cwd=tmp_path, env=env(tmp_path), stderr=subprocess.STDOUT)
    assert (done.stderr, "Did you mean" in done.stdout) == (None, True)


def test_check_and_timeout(way: str, tmp_path: Path, doltlite_path: FileAddress) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        forked.dolt_watch(["statu"], cwd=tmp_path, env=env(tmp_path), check=True)
    here = env(tmp_path, DOLT_WATCH_DATABASE=doltlite_path.url, BEADBOARD_URL="http://127.0.0.1:1")
    engine = open_engine(doltlite_path, create=True)
    beads.create_beads(engine)
    engine.close()
    assert forked.dolt_watch(["init"], cwd=tmp_path, env=here).returncode == 0
    with pytest.raises(subprocess.TimeoutExpired):
        forked.dolt_watch(["run", "--port", "0"], cwd=tmp_path, env=here, timeout=0.5)


def test_other_encodings_start_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(forked.PROCESSES, raising=False)
    assert not forked.forks({"PYTHONIOENCODING": "latin-1"})
    assert not forked.forks({"LC_ALL": "de_DE.ISO-8859-1"})
    assert not forked.forks({"LD_PRELOAD": "x.so"})


def test_stand_in(way: str, dolt_server: Server, tmp_path: Path) -> None:
    program = launcher.write(tmp_path / "bin", "1.2.2")
    assert launcher.dialect_of(program) == "1.2.2"
    bd = beads.initialized(dolt_server, tmp_path, str(program))
    try:
        bead = bd.create("one", actor="ann")
        assert bead.startswith("bd-")
        done = bd.attempt("heartbeat", bead)
        assert (done.returncode, done.stdout) == (1, "")
        assert "unknown command" in done.stderr
    finally:
        dolt_server.drop(bd.address)


def test_other_programs_are_no_stand_in() -> None:
    assert launcher.dialect_of("/bin/sh") == ""


def test_a_program_for_shells(tmp_path: Path) -> None:
    program = forked.program(tmp_path / "bin", "dolt_watch")
    here = env(tmp_path) | {"PATH": f"{program.parent}:/usr/bin:/bin"}
    line = "dolt_watch --version; dolt_watch statu 2>&1 >/dev/null | head -1; dolt_watch statu"
    done = subprocess.run(
        ["sh", "-c", line], cwd=tmp_path, env=here, capture_output=True, text=True
    )
    first, second, *_ = done.stdout.splitlines()
    assert (done.returncode, first.startswith("dolt_watch")) == (2, True), done
    assert second in done.stderr.splitlines()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_ends_as_it_is_told_to(
    number: int, tmp_path: Path, doltlite_path: FileAddress
) -> None:
    """A fork ends with its program, also if the program is killed."""
    program = forked.program(tmp_path / "bin", "dolt_watch")
    here = env(tmp_path, DOLT_WATCH_DATABASE=doltlite_path.url, BEADBOARD_URL="http://127.0.0.1:1")
    engine = open_engine(doltlite_path, create=True)
    beads.create_tracker(engine, "ann <ann@test>")
    engine.close()
    command = [program, "run", "--port", "0", "--debug"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=tmp_path, env=here, **streams) as started:
        assert started.stdout and started.stdout.readline()
        started.send_signal(number)
        assert started.stdout.read() is not None  # The fork keeps the pipe open to its end.
        assert started.wait(120) == (0 if number == signal.SIGTERM else -number)


IMPORTED_BY = """
import sys
from tests.support import forked
forked.preload()
from dolt_watch.cli import main
before = set(sys.modules)
for words in (["tick"], ["status"], ["why", "bd-1"], ["doctor"]):
    sys.argv = ["dolt_watch", *words]
    try:
        main()
    except SystemExit:
        pass
new = sorted(set(sys.modules) - before)
print("imported:", *(one for one in new if one.partition(".")[0] not in sys.stdlib_module_names))
"""


def test_a_fork_imports_no_package(tmp_path: Path, doltlite_path: FileAddress) -> None:
    """``LAZY`` is complete. Otherwise, each run of a command imports the package again."""
    engine = open_engine(doltlite_path, create=True)
    Light(engine).assign("bd-1")
    engine.close()
    here = env(tmp_path, DOLT_WATCH_DATABASE=doltlite_path.url, BEADBOARD_URL="http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED_BY],
        cwd=forked.ROOT,
        env=here,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1:] == ["imported:"], done
