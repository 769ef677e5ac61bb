"""Completion of values in a shell: bead IDs, rules and settings.

A completion prints candidates only. If the settings or the database can't be read, there are none.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from click.shell_completion import get_completion_class

from dolt_watch.config import describe, load
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import DoltWatchError

if TYPE_CHECKING:
    import click

    from dolt_watch.config import Settings

MOST = 100
"""Maximum number of bead IDs that a shell is offered."""
SECONDS = 2.0
"""Maximum duration of a completion. A user who presses TAB doesn't wait for a silent server."""
NAMES = ("dolt_watch", "dolt-watch")
"""Both spellings of the program."""


def scripts(group: click.Group, instruction: str, variable: str) -> str:
    """Return the code that registers the completion of both spellings in a shell.

    Args:
        group: The command group.
        instruction: Value of the variable, such as "bash_source".
        variable: Name of the variable that asks for completion.
    """
    shell = get_completion_class(instruction.partition("_")[0])
    if shell is None:
        return ""
    return "\n".join(shell(group, {}, name, variable).source() for name in NAMES)


def rules(params: Mapping[str, Any], incomplete: str) -> Iterator[str]:
    """Yield the names of rules."""
    return _matching(params, incomplete, lambda settings: [rule.name for rule in settings.rules])


def settings(params: Mapping[str, Any], incomplete: str) -> Iterator[str]:
    """Yield the keys that --set accepts, with "="."""
    return _matching(params, incomplete, _keys)


def beads(params: Mapping[str, Any], incomplete: str) -> Iterator[str]:
    """Yield the IDs of beads, the last changed first."""

    def ids(settings: Settings) -> list[str]:
        with closing(open_engine(settings.address)) as engine:
            # "!" escapes: a backslash is read differently by the two engines.
            start = "".join(f"!{each}" if each in "!%_" else each for each in incomplete)
            sql = "SELECT id FROM issues WHERE id LIKE ? ESCAPE '!' ORDER BY updated_at DESC, id"
            return [str(id) for (id,) in engine.query(f"{sql} LIMIT {MOST}", (f"{start}%",))]

    return _matching(params, incomplete, ids)


def _keys(settings: Settings) -> list[str]:
    # Late: only --set needs the names of the connection's keys.
    from dolt_watch.config.sources import RULE, SECTIONS, TABLES, TOP

    own = {*TOP, *(f"{name}.{key}" for name, keys in SECTIONS.items() for key in keys)}
    lines = [
        line.key
        for line in describe(settings)
        if not line.secret and (line.key in own or line.key.partition(".")[0] in TABLES)
    ]
    rules = [f"rules.{rule.name}.{key}" for rule in settings.rules for key in RULE]
    return [f"{key}=" for key in dict.fromkeys([*own, *rules, *lines])]


def _matching(
    params: Mapping[str, Any], incomplete: str, names: Callable[[Settings], list[str]]
) -> Iterator[str]:
    flags = {name: params.get(name) for name in ("config", "database", "set")}
    with suppress(DoltWatchError, OSError, _TimeIsUp), _limited(SECONDS):
        yield from sorted(name for name in names(load(flags)) if name.startswith(incomplete))


class _TimeIsUp(Exception):
    """Raised when a completion takes too long."""


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise _TimeIsUp if the block takes longer."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
