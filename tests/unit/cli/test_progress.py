"""The progress bar of commands that read all of history: the what-if and ``--verify``."""

from __future__ import annotations

import contextlib
import io
from itertools import count
from types import SimpleNamespace

import pytest

from dolt_watch.cli.replay import command
from dolt_watch.engines.address import FileAddress
from tests.support.history import History


class Stderr(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.covering
@pytest.mark.parametrize("arguments", [[], ["--verify"]])
@pytest.mark.parametrize(("terminal", "seconds"), [(True, 5), (True, 0), (False, 5)])
def test_a_bar_on_a_terminal_for_what_takes_long(
    doltlite_path: FileAddress,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    terminal: bool,
    seconds: int,
) -> None:
    history = History(doltlite_path)
    with contextlib.closing(history.engine):
        history.at("10:00").play(
            "10:10", {"10:01": lambda h: h.new("a"), "10:05": lambda h: h.set("a", status="closed")}
        )
    stderr, clock = Stderr(terminal), count(step=seconds)
    monkeypatch.setattr(
        "dolt_watch.cli.progress.time", SimpleNamespace(monotonic=lambda: next(clock))
    )
    monkeypatch.setattr("sys.stderr", stderr)
    assert not command.main(["--database", doltlite_path.url, *arguments], standalone_mode=False)
    shown = stderr.getvalue()
    phase = "verifying" if arguments else "reading history"
    assert (phase in shown and "100%" in shown) == (terminal and bool(seconds)), shown
    assert terminal or shown == ""
    assert phase not in capsys.readouterr().out
