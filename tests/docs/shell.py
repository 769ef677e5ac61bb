"""A shell that runs the commands of a page in order and compares their output with the page.

In a block ```console, `$ ` begins a command, and `> ` continues it. The other lines are its output.
A block ```sh is one command, and its output isn't compared. Every command must exit with 0, unless
the block says `exit=N`.

The real output may contain more lines than the page. Times, IDs, hashes and durations are compared
by shape, and `…` matches anything.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
MARK = "\x1e"
SHAPES = [
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( \+0000 UTC|Z|\+00:00)?", "TIME"),
    (r"\b\d{4}-\d\d-\d\d\b", "DATE"),
    (r"\bbd-[0-9a-z]{3,8}\b", "BEAD"),
    (r"\b(?:[0-9a-f]{12}|[0-9a-f]{32})\b", "JOB"),
    (r"127\.0\.0\.1:\d+", "HOST:PORT"),
    (r"\b\d+(\.\d+)?(ms|s|m|h)\b( \d+(s|m)\b)?", "SPAN"),
    (r"-{2,}|\s+", " "),
]


class Step(NamedTuple):
    command: str
    shown: list[str]
    line: int
    exit: int = 0
    board: str = ""
    """Script of the board: the text of a comment `<!-- board: … -->` above the block."""


def steps(page: Path) -> list[Step]:
    return list(steps_of(page.read_text("utf-8")))


def steps_of(text: str, above: int = 0) -> Iterator[Step]:
    """Yield the commands of a text.

    ``above`` is the number of lines above the text in its page. A block may be indented in a list.
    """
    fence = re.compile(
        r"(?:<!-- board: (.*?) -->\n)?^( *)```(console|sh)(?: exit=(\d+))?\n(.*?)^ *```$",
        re.MULTILINE | re.DOTALL,
    )
    for block in fence.finditer(text):
        board, kind, code = block[1] or "", block[3], int(block[4] or 0)
        body = re.sub(f"^{block[2]}", "", block[5], flags=re.MULTILINE)
        line = above + text.count("\n", 0, block.start(5)) + 1
        if kind == "sh":
            yield Step(body, [], line, code, board)
            continue
        assert body.startswith("$ "), f"line {line}: a console block begins with a command"
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            first, *rest = part.splitlines()
            more = [
                each.removeprefix("> ").removeprefix(">") for each in rest if each.startswith(">")
            ]
            shown = [each for each in rest if not each.startswith(">")]
            yield Step("\n".join([first, *more]), shown, line, code, board)
            line, board = line + part.count("\n"), ""


class Shell:
    """A bash process that keeps `cd`, `export` and variables between commands.

    ``swaps`` maps a text in commands to its replacement, for example a port.
    """

    def __init__(
        self, cwd: Path, env: Mapping[str, str], swaps: Mapping[str, str] | None = None
    ) -> None:
        self.swaps = dict(swaps or {})
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=cwd,
            env={**env, "NO_COLOR": "1"},
            text=True,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Run a command, and return its exit code and its output."""
        for text, instead in self.swaps.items():
            command = command.replace(text, instead)
        assert self._bash.stdin and self._bash.stdout
        self._bash.stdin.write(f"{{\n{command}\n}} </dev/null\nprintf '\\n\\036%s\\n' \"$?\"\n")
        self._bash.stdin.flush()
        printed: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(MARK):
                return int(line[1:]), "\n".join("".join(printed).splitlines())
            printed.append(line)
        raise AssertionError(f"the shell ended in: {command}\n{''.join(printed)}")

    def close(self) -> None:
        """End the shell and its background processes."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with _gone():
                os.killpg(self._bash.pid, number)
            with _gone():
                self._bash.wait(5)
        for pipe in (self._bash.stdin, self._bash.stdout):
            if pipe:
                pipe.close()


class _gone:
    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, ProcessLookupError | subprocess.TimeoutExpired)


def shape(line: str) -> str:
    for pattern, instead in SHAPES:
        line = re.sub(pattern, instead, line)
    return line.strip()


def missing(shown: list[str], printed: str) -> str:
    """Return the first shown line that wasn't printed in order, or '' if all were printed."""
    lines = iter([shape(line) for line in printed.splitlines()])
    for line in shown:
        pattern = ".*".join(re.escape(part) for part in shape(line).split("…"))
        if shape(line) and not any(re.fullmatch(pattern, each) for each in lines):
            return line
    return ""


def check(step: Step, code: int, printed: str, page: str) -> None:
    where = f"{page}:{step.line}: {step.command.strip()}"
    assert code == step.exit, f"{where}\nexit {code}, not {step.exit}:\n{printed}"
    lacks = missing(step.shown, printed)
    assert not lacks, (
        f"{where}\nthe page shows this, which was not printed:\n  {lacks}\nprinted:\n{printed}"
    )
