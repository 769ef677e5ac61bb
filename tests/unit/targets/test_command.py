"""The command target with real programs: the meaning of each end, and no remaining processes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.config import load
from dolt_watch.core.model import Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.errors import SettingsError
from dolt_watch.targets.command import MAX_OUTPUT, Command
from dolt_watch.targets.command_settings import CommandSettings
from dolt_watch.targets.protocol import BeadTask
from tests.stubs.beads import task
from tests.support.targets import open_target

Script = Callable[[str], Path]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    def make(text: str) -> Path:
        path = tmp_path / "program"
        path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
        path.chmod(0o755)
        return path

    return make


def dispatch(
    program: Path | str,
    *arguments: str,
    bead: BeadTask | None = None,
    timeout: float = 10.0,
    **more: Any,
) -> Answer:
    settings = CommandSettings(
        "local", argv=(str(program), *arguments), timeout=timedelta(seconds=timeout), **more
    )
    with closing(Command(settings)) as target:
        return target.dispatch(bead or task(), "token-1")


def gone(pid: int) -> bool:
    """Return whether the process ends within a minute.

    The kernel delivers signals with a delay. A zombie that init still has to collect counts as
    ended.
    """
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        time.sleep(0.01)
    return False


# -- input of the program --------------------


def test_the_bead_on_stdin_and_its_names_in_the_environment(script: Script, tmp_path: Path) -> None:
    program = script(
        f'cat > {tmp_path}/bead.json; echo "$BEAD_ID $IDEMPOTENCY_KEY" > {tmp_path}/env; echo job-1'
    )
    assert dispatch(program, bead=task(title="ü\n")) == Accepted("job-1", None)
    told = json.loads((tmp_path / "bead.json").read_text())
    assert (told["id"], told["title"], told["created_at"]) == (
        "bd-1",
        "ü\n",
        "2026-04-18T22:35:46Z",
    )
    assert (tmp_path / "env").read_text() == "bd-1 token-1\n"


def test_no_shell_reads_its_arguments(script: Script, tmp_path: Path) -> None:
    assert dispatch(script('echo "$1"'), "$(touch x); *") == Accepted("$(touch x); *", None)


def test_only_what_is_named_of_the_environment(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_BEARER_TOKEN", "s3cret")
    monkeypatch.setenv("WANTED", "yes")
    program = script('echo "[$API_BEARER_TOKEN][$WANTED]"')
    assert dispatch(program) == Accepted("[][]", None)
    assert dispatch(program, env=("PATH", "WANTED", "NOT_SET")) == Accepted("[][yes]", None)


def test_a_program_that_does_not_read_its_input(script: Script) -> None:
    assert dispatch(script("echo job-1"), bead=task(description="x" * 1_000_000)) == Accepted(
        "job-1", None
    )


def test_a_program_that_writes_before_it_reads(script: Script) -> None:
    program = script("echo job-1; head -c 300000 /dev/zero; cat > /dev/null")
    assert dispatch(program, bead=task(description="x" * 1_000_000)) == Accepted("job-1", None)


# -- meaning of its end --------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("echo job-1; echo more", Accepted("job-1", None)),
        ("printf job-1", Accepted("job-1", None)),
        ("printf ' job-1 \\r\\n'", Accepted("job-1", None)),
        ("exit 0", Unknown("exit 0, no job id in the first line")),
        ("echo; echo job-1", Unknown("exit 0, no job id in the first line")),
        ("printf 'a\\tb\\n'", Unknown("exit 0, no job id in the first line: a\\tb")),
        ("exit 75", Busy("exit 75")),
        ("echo 'no slot' >&2; exit 75", Busy("exit 75: no slot")),
        (
            "echo job-1; echo 'no \033[1msuch repo' >&2; exit 3",
            Refused("exit 3: no \\x1b[1msuch repo"),
        ),
        ("exit 127", Refused("exit 127")),
        ("echo oh >&2; kill -9 $$", Unknown("the program was killed by signal 9: oh")),
    ],
)
def test_what_an_end_means(script: Script, text: str, answer: Answer) -> None:
    assert dispatch(script(text)) == answer


def test_what_cannot_be_started_runs_nothing(script: Script, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    no_interpreter = script("")
    no_interpreter.write_text("#!/no/such/interpreter\n")
    for program in (tmp_path / "none", "no-such-program-on-path", plain, tmp_path, no_interpreter):
        answer = dispatch(program)
        assert isinstance(answer, Refused) and "could not be started" in answer.why
    assert isinstance(dispatch(script("echo x"), bead=task(id="a\0b")), Refused)


def test_output_is_bounded(script: Script) -> None:
    answer = dispatch(
        script("head -c 5000000 /dev/zero | tr '\\0' x; head -c 5000000 /dev/zero >&2")
    )
    assert isinstance(answer, Unknown) and len(answer.why) < 600
    answer = dispatch(script("yes | head -c 5000000 >&2; exit 1"))
    assert isinstance(answer, Refused) and len(answer.why) < 600
    assert MAX_OUTPUT < 5_000_000


# -- cleanup --------------------


def test_time_over_ends_it_and_its_group(script: Script, tmp_path: Path) -> None:
    program = script(
        f"sleep 300 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/self; echo job-1; wait"
    )
    began = time.monotonic()
    answer = dispatch(program, timeout=0.5)
    assert time.monotonic() - began < 5
    assert answer == Unknown(
        "the program didn't end within 0.5 s and was killed with its process group"
    )
    assert all(gone(int((tmp_path / name).read_text())) for name in ("child", "self"))


def test_a_signal_that_it_ignores_does_not_keep_it(script: Script, tmp_path: Path) -> None:
    program = script(f"trap '' TERM INT HUP; echo $$ > {tmp_path}/self; while :; do sleep 1; done")
    assert isinstance(dispatch(program, timeout=0.5), Unknown)
    assert gone(int((tmp_path / "self").read_text()))


@pytest.mark.parametrize("code", [1, 75])
def test_nothing_runs_means_that_nothing_of_it_runs(
    script: Script, tmp_path: Path, code: int
) -> None:
    dispatch(script(f"sleep 300 & echo $! > {tmp_path}/child; exit {code}"))
    assert gone(int((tmp_path / "child").read_text()))


def test_what_it_started_in_the_background_goes_on(script: Script, tmp_path: Path) -> None:
    # The child keeps the outputs open, but the answer doesn't wait for the child.
    program = script(f"sleep 300 & echo $! > {tmp_path}/child; echo job-1")
    began = time.monotonic()
    assert dispatch(program) == Accepted("job-1", None)
    assert time.monotonic() - began < 5
    child = int((tmp_path / "child").read_text())
    os.kill(child, 0)
    os.kill(child, 9)


def test_the_same_where_the_system_has_no_waitid(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "waitid")  # as on macOS before Python 3.13
    assert dispatch(script("echo job-1")) == Accepted("job-1", None)
    answer = dispatch(script(f"sleep 300 & echo $! > {tmp_path}/child; echo no >&2; exit 3"))
    assert answer == Refused("exit 3: no") and gone(int((tmp_path / "child").read_text()))
    assert isinstance(dispatch(script("kill -9 $$")), Unknown)


def test_no_files_and_no_threads_are_left(script: Script) -> None:
    good, bad, slow = script("echo job-1"), "no-such-program", ("/bin/sleep", "300")
    before, threads = len(os.listdir("/dev/fd")), threading.active_count()  # noqa: PTH208
    for _ in range(3):
        dispatch(good)
        dispatch(bad)
        dispatch(*slow, timeout=0.05)
    assert (len(os.listdir("/dev/fd")), threading.active_count()) == (before, threads)  # noqa: PTH208


# -- rest of the contract --------------------


def test_without_its_program_the_target_is_down(script: Script, tmp_path: Path) -> None:
    for program, down in (
        (script("echo x"), False),
        (tmp_path / "none", True),
        (Path("sh"), False),
    ):
        target = Command(CommandSettings("local", argv=(str(program),)))
        capacity = target.capacity()
        assert (capacity.down, capacity.slots, capacity.idle) == (
            down,
            0 if down else None,
            False,
        ) and capacity.why
        assert target.verdict("job-1", None).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("timeout = '5s'", "[targets.command] argv", "no program"),
        ("argv = []", "dolt_watch.toml:2", "no program"),
        ("argv = 'ls -l'", "dolt_watch.toml:2", "a list of texts"),
        ("argv = ['ls', 1]", "dolt_watch.toml:2", "a list of texts"),
        ("argv = ['ls']\nenv = ['A=b']", "dolt_watch.toml:3", "isn't allowed in env"),
        ("argv = ['ls']\nenv = ['BEAD_ID']", "dolt_watch.toml:3", "isn't allowed in env"),
        ("argv = ['ls']\nurl = 'http://h'", "dolt_watch.toml:3", "url"),
    ],
)
def test_bad_settings_are_told_with_their_place(
    tmp_path: Path, text: str, where: str, said: str
) -> None:
    (tmp_path / "dolt_watch.toml").write_text(f"[targets.command]\n{text}\n", "utf-8")
    with pytest.raises(SettingsError) as caught:
        open_target(load({"database": "dolt://h/d"}, {}, tmp_path).targets["command"])
    assert (caught.value.where or "").endswith(where)
    assert said in caught.value.message and caught.value.fix


def test_argv_from_a_flag_is_json(tmp_path: Path) -> None:
    given = ['targets.command.argv=["a b", "c"]', "rules.agent.target=command"]
    made = load({"database": "dolt://h/d", "set": given}, {}, tmp_path).targets["command"]
    assert isinstance(made, CommandSettings) and made.argv == ("a b", "c")
