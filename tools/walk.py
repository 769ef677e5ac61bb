"""The walk of one dispatch: ``python -m tools.walk``.

Print the functions that ``dolt_watch dispatch`` calls, in the order of their first call. Count the
functions, their files, and the returns to an earlier file, which a reader has to follow. One new
bead waits in a tracker on DoltLite. Its target answers over HTTP, and the state of the previous
tick is saved.

Only named functions count: no comprehensions, lambdas, modules or class bodies. Each function
counts once, at its first call. Settings, engines, HTTP and small helpers (``LEFT_OUT``) are left
out, because readers know them. Functions that only the settings or an engine call are left out too.
Properties and methods of records count like all other functions.

These are the rules of the review that set the goal of 90 functions, 18 files and 20 returns. The
review counted 180, 31 and 65 in the package of 2026-11-29. These rules count 174, 30 and 64 there.
"""

from __future__ import annotations

import inspect
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

import click

import dolt_watch
from dolt_watch.cli import main as command_line
from dolt_watch.demo.fake_agent import Agent
from dolt_watch.demo.tracker import create_demo_database, make_tracker
from dolt_watch.engines.connect import open_engine
from dolt_watch.ledger.schema import migrate

PACKAGE = Path(dolt_watch.__file__).parent
AUTHOR = "ada <ada@example.com>"
HELPERS = ("clock", "errors", "log_events", "sanitize", "suggestions", "text_table", "timestamps")
INNER = ("config/", "engines/")
"""Packages whose callees a reader takes for granted too."""
LEFT_OUT = (*INNER, "targets/http_client", "cli/options", "cli/output", *HELPERS)
BEAD = "bd-1"


class Hop(NamedTuple):
    """A function and the file that defines it, relative to the package."""

    file: str
    function: str


class Walk(NamedTuple):
    """The functions that one dispatch calls."""

    hops: list[Hop]
    """Each function once, in the order of the first calls."""

    @property
    def files(self) -> list[str]:
        return list(dict.fromkeys(hop.file for hop in self.hops))

    @property
    def switches(self) -> int:
        """Return how often the next function is in another file."""
        pairs = zip(self.hops, self.hops[1:], strict=False)
        return sum(one.file != other.file for one, other in pairs)

    @property
    def returns(self) -> int:
        """Return how many of these switches lead back to an earlier file."""
        return self.switches - (len(self.files) - 1)


def record(run: Callable[[], object]) -> Walk:
    """Run a function, and return the functions of dolt_watch that it calls."""
    seen: dict[CodeType, Hop] = {}

    def profile(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        # The body of a class is code too. Neither a class body nor a module is a function.
        is_function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        if event != "call" or code in seen or not is_function:
            return
        file = _file(code)
        if file and not file.startswith(LEFT_OUT) and not _called_by(frame, INNER):
            seen[code] = Hop(file, code.co_qualname)

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return Walk(list(seen.values()))


@cache
def _file(code: CodeType) -> str:
    """Return the file of a function, relative to the package, or '' for other functions."""
    path = Path(code.co_filename)
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else ""


def _called_by(frame: FrameType, parts: tuple[str, ...]) -> bool:
    """Return whether a function of one of these parts is among the callers."""
    caller = frame.f_back
    while caller is not None:
        if _file(caller.f_code).startswith(parts):
            return True
        caller = caller.f_back
    return False


def dispatch_one_bead() -> Walk:
    """Record a dispatch in a separate tracker. Raise RuntimeError if no bead was sent."""
    sent: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_engine(address := create_demo_database(Path(folder)))) as engine,
        Agent(lambda: open_engine(address), sent.append, dies=BEAD, refuses="") as agent,
    ):
        make_tracker(engine, AUTHOR)
        for _ in migrate(engine, AUTHOR):
            pass
        os.environ["BEADBOARD_URL"] = agent.url

        def dispatch() -> None:
            words = ["dispatch", "--database", address.url, "--set", "settle=0s"]
            sys.argv = ["dolt_watch", *words]
            try:
                command_line()
            except SystemExit as end:
                if end.code:
                    raise RuntimeError(f"dispatch ended with {end.code}") from end

        dispatch()
        with engine.transaction() as tx:
            tx.execute(
                "INSERT INTO issues (id, title, description, design, acceptance_criteria, notes,"
                " assignee) VALUES (?, 'walk', '', '', 'it is walked', '', 'agent')",
                (BEAD,),
            )
            tx.dolt_commit(["issues"], f"bd: create {BEAD}", AUTHOR)
        walk = record(dispatch)
    if not sent:
        raise RuntimeError("no bead was sent")
    return walk


def main() -> None:
    walk = dispatch_one_bead()
    before = ""
    for hop in walk.hops:
        if hop.file != before:
            click.echo(f"\n{hop.file}")
            before = hop.file
        click.echo(f"    {hop.function}")
    click.echo(
        f"\n{len(walk.hops)} functions in {len(walk.files)} files; "
        f"{walk.returns} of {walk.switches} changes of file lead back to a file already left"
    )


if __name__ == "__main__":
    main()
