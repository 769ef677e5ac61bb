"""``dolt_watch events``."""

from __future__ import annotations

import select
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import orjson

from dolt_watch.cli.options import load_settings, settings_options
from dolt_watch.clock import DatabaseClock
from dolt_watch.engines.address import ServerAddress
from dolt_watch.errors import SettingsError
from dolt_watch.history.branches import branch_head, open_branch
from dolt_watch.history.reader import first_commit, is_cut
from dolt_watch.history.revisions import resolve_revision, timestamp_in
from dolt_watch.inspection.event_export import event_records, to_cloudevent
from dolt_watch.inspection.event_stream import Follower, read_events
from dolt_watch.ledger.schema import check_project
from dolt_watch.sanitize import sanitize
from dolt_watch.timestamps import iso

if TYPE_CHECKING:
    from dolt_watch.clock import Clock
    from dolt_watch.config import Settings
    from dolt_watch.engines import Engine
    from dolt_watch.history.reader import CommitEvents


@click.command()
@settings_options
@click.option(
    "--from",
    "since",
    metavar="COMMIT|TIME",
    help="Only what came after it. Default: all that history holds; with --follow, from now on.",
)
@click.option("--to", "until", metavar="COMMIT|TIME", help="Up to it. Default: HEAD.")
@click.option("--follow", is_flag=True, help="Stay on, and go on with what comes.")
@click.option("--bead", metavar="ID", help="Only of this bead.")
@click.option("--branch", metavar="NAME", help="History of another branch.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "cloudevents"]),
    default="json",
    show_default=True,
)
def command(
    since: str | None,
    until: str | None,
    follow: bool,
    bead: str | None,
    branch: str | None,
    form: str,
    **kwargs: Any,
) -> int:
    """What history's commits meant for the beads, one JSON line an event, oldest first.

    By the rules as they are set now. Writes nothing to the database; nothing else is printed on
    stdout.

    Example: dolt_watch events --follow | jq -r 'select(.kind == "claim") | .bead'
    """

    if follow and until is not None:
        raise click.UsageError("--follow goes on for ever: it has no --to")
    settings = load_settings(kwargs)
    engine = open_branch(settings.address, branch)
    try:
        _stream(
            engine, settings, since, until, follow, branch, _Writer(settings, branch, bead, form)
        )
    finally:
        engine.close()
    return 0


def _stream(
    engine: Engine,
    settings: Settings,
    since: str | None,
    until: str | None,
    follow: bool,
    branch: str | None,
    write: _Writer,
) -> None:

    check_project(engine, settings.project_id)
    head = branch_head(engine, branch)
    end = resolve_revision(engine, until, head, "--to").hash if until is not None else head
    begin = end if follow and since is None else _begin(engine, since, end, head)
    times = (timestamp_in(since or ""), timestamp_in(until or ""))
    if times[0] is not None and times[1] is not None and times[0] > times[1]:
        raise _backwards()
    if not follow:
        for passed in read_events(engine, begin, end, settings.rules):
            write(passed)
        if write.bead is not None and not write.written:
            _warn(f"warning: no event of bead {write.bead}")
        return
    with _Quiet() as quiet:
        follower = Follower(engine, branch, settings.rules, quiet.clock(DatabaseClock()), _warn)
        for each in follower.follow(begin):
            if each is not None:
                write(each)
            quiet.check()


def _backwards() -> SettingsError:
    return SettingsError(
        "--from comes after --to", where="--from", fix="change the two: the older comes first"
    )


def _known(engine: Engine, commit: str, head: str) -> bool:

    try:
        resolve_revision(engine, commit, head)
    except SettingsError:
        return False
    return True


def _begin(engine: Engine, since: str | None, end: str, head: str) -> str:

    if since is None:
        first = first_commit(engine, end)
        cut = " with a shallow clone" if is_cut(engine, first) else ""
        _warn(
            f"history begins{cut} at {first.hash}, {iso(first.date)}: what it held then came by no"
            " event"
        )
        return first.hash
    try:
        return resolve_revision(engine, since, end, "--from").hash
    except SettingsError:
        if end != head and _known(engine, since, head):
            raise _backwards() from None
        first = first_commit(engine, end)
        moment = timestamp_in(since)
        gone = len(since.strip()) == len(end) if moment is None else moment < first.date
        if not gone:
            raise
        what = (
            f"history no longer holds {since.strip()}: it begins"
            if moment is None
            else "history begins"
        )
        what += " with a shallow clone" if is_cut(engine, first) else ""
        _warn(f"{what} at {first.hash}, {iso(first.date)}; events from there on")
        return first.hash


def _warn(line: str) -> None:
    click.echo(sanitize(line), err=True)


class _Writer:
    """One line an event; the lines of one commit go out together, so that a reader never waits
    for a buffer.
    """

    def __init__(self, settings: Settings, branch: str | None, bead: str | None, form: str) -> None:

        address = settings.address
        name = address.database if isinstance(address, ServerAddress) else address.path
        self.bead, self.rules = bead, settings.rules
        self.written = False
        self.source = (
            quote(f"/dolt_watch/{name.lstrip('/')}" + (f"/{branch}" if branch else ""))
            if form == "cloudevents"
            else ""
        )

    def __call__(self, passed: CommitEvents) -> None:
        lines = b"".join(self._format_text(passed))
        if lines:
            self.written = True
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()

    def _format_text(self, passed: CommitEvents) -> Iterator[bytes]:

        for told in event_records(passed.commit, passed.events, self.rules):
            if self.bead is None or told["bead"] == self.bead:
                yield orjson.dumps(
                    to_cloudevent(told, self.source) if self.source else told,
                    option=orjson.OPT_APPEND_NEWLINE,
                )


class _Interrupted(Exception):
    """Somebody asked us to end."""


class _Quiet:
    """SIGTERM ends it between two commits or while it sleeps, never within a line; so does a
    reader that is gone.
    """

    def __init__(self) -> None:
        self.asked = self.sleeping = False

    def __enter__(self) -> _Quiet:
        self._before = signal.signal(signal.SIGTERM, self._ask)
        self._out = select.poll()
        self._out.register(sys.stdout.fileno(), 0)  # errors are told without being asked for
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        signal.signal(signal.SIGTERM, self._before)
        return kind is _Interrupted

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self.sleeping:
            raise _Interrupted

    def sleep(self, clock: Clock, seconds: float) -> None:
        """Sleep; SIGTERM ends it."""
        self.sleeping = True
        try:
            if self.asked:
                raise _Interrupted
            clock.sleep(seconds)
        finally:
            self.sleeping = False

    def check(self) -> None:
        """Raises BrokenPipeError where nobody reads any more."""
        if self.asked:
            raise _Interrupted
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in self._out.poll(0)):
            raise BrokenPipeError

    def clock(self, clock: Clock) -> Clock:
        return _InterruptibleClock(clock, self)


class _InterruptibleClock:
    """A clock whose sleep SIGTERM ends."""

    def __init__(self, clock: Clock, quiet: _Quiet) -> None:
        self.now, self._clock, self._quiet = clock.now, clock, quiet

    def sleep(self, seconds: float) -> None:
        self._quiet.sleep(self._clock, seconds)
