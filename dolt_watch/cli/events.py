"""``dolt_watch events``."""

from __future__ import annotations

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
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.reader import first_commit, is_cut
from dolt_watch.history.revisions import head_commit, resolve_revision, timestamp_in
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
    engine = open_engine(settings.address)
    try:
        _stream(engine, settings, since, until, follow, _Writer(settings, bead, form))
    finally:
        engine.close()
    return 0


def _stream(
    engine: Engine,
    settings: Settings,
    since: str | None,
    until: str | None,
    follow: bool,
    write: _Writer,
) -> None:

    check_project(engine, settings.project_id)
    head = head_commit(engine)
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
    with _Termination(DatabaseClock()) as termination:
        for each in Follower(engine, settings.rules, termination, _warn).follow(begin):
            if each is not None:
                write(each)
            termination.check()


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

    def __init__(self, settings: Settings, bead: str | None, form: str) -> None:

        address = settings.address
        name = address.database if isinstance(address, ServerAddress) else address.path
        self.bead, self.rules = bead, settings.rules
        self.written = False
        self.source = quote(f"/dolt_watch/{name.lstrip('/')}") if form == "cloudevents" else ""

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
    """SIGTERM arrived."""


class _Termination:
    """Ends the stream on SIGTERM: during a sleep or between two commits, never within a line."""

    def __init__(self, clock: Clock) -> None:
        self.now, self._clock = clock.now, clock
        self._requested = self._sleeping = False

    def __enter__(self) -> _Termination:
        self._previous = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        signal.signal(signal.SIGTERM, self._previous)
        return kind is _Interrupted

    def _request(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        if self._sleeping:
            raise _Interrupted

    def check(self) -> None:
        """Raise _Interrupted if SIGTERM arrived."""
        if self._requested:
            raise _Interrupted

    def sleep(self, seconds: float) -> None:
        """Sleep as the clock does; SIGTERM ends the sleep at once."""
        self._sleeping = True
        try:
            self.check()
            self._clock.sleep(seconds)
        finally:
            self._sleeping = False
