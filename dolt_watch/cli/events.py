"""``dolt_watch events``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import orjson

from dolt_watch.cli.options import bead_option, load_settings, settings_options
from dolt_watch.cli.times import absolute
from dolt_watch.clock import DatabaseClock
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.clock import server_time
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.reader import first_commit, is_cut
from dolt_watch.history.revisions import head_commit, resolve_revision, timestamp_in
from dolt_watch.inspection.bead_ids import require_bead, resolve_bead_id
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
    metavar="TIME",
    help=(
        "Print only events after TIME: a timestamp, a duration back from now (2h), 'yesterday', or"
        " a commit. Default: all of history, or with --follow, from now on."
    ),
)
@click.option("--to", "until", metavar="TIME", help="Print only events up to TIME. Default: HEAD.")
@click.option(
    "--follow", is_flag=True, help="Keep running, and print new events as they are committed."
)
@bead_option("Print only events of this bead.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "cloudevents"]),
    default="json",
    help="Form of each line.",
)
def command(
    since: str | None,
    until: str | None,
    follow: bool,
    bead: str | None,
    form: str,
    **kwargs: Any,
) -> int:
    """Print the events of history as JSON lines, oldest first.

    An event is what a commit means for a bead, by the current rules. The command writes nothing to
    the database. Warnings go to stderr, so stdout contains only events.

    Example: dolt_watch events --follow | jq -r 'select(.kind == "claim") | .bead'
    """
    if follow and until is not None:
        raise SettingsError(
            "--to can't be combined with --follow, which has no end.",
            where="--to",
            fix="Omit one of the two options.",
        )
    settings = load_settings(kwargs)
    with closing(open_engine(settings.address)) as engine:
        check_project(engine, settings.project_id)
        if bead is not None:  # With --follow, the bead may be created later.
            find = resolve_bead_id if follow else require_bead
            bead = find(engine, bead, "--bead")
        now = server_time(engine)
        since = absolute(since, now, "--from") if since is not None else None
        until = absolute(until, now, "--to") if until is not None else None
        _stream(engine, settings, since, until, follow, _Writer(settings, bead, form))
    return 0


def _stream(
    engine: Engine,
    settings: Settings,
    since: str | None,
    until: str | None,
    follow: bool,
    write: _Writer,
) -> None:
    """Write the events between two revisions, or with ``follow`` all that come."""
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
            _warn(f"warning: bead {write.bead} has no events in this range")
        return
    with _Termination(DatabaseClock()) as termination:
        for each in Follower(engine, settings.rules, termination, _warn).follow(begin):
            if each is not None:
                write(each)
            termination.check()


def _backwards() -> SettingsError:
    return SettingsError(
        "--from is later than --to.", where="--from", fix="Exchange the values of --from and --to."
    )


def _known(engine: Engine, commit: str, head: str) -> bool:
    """Return whether a revision exists in the history of ``head``."""
    try:
        resolve_revision(engine, commit, head)
    except SettingsError:
        return False
    return True


def _begin(engine: Engine, since: str | None, end: str, head: str) -> str:
    """Return the commit after which the events begin.

    If history no longer contains it, the events begin with history, and a warning is printed.

    Raises:
        SettingsError: The revision doesn't exist, or comes after ``end``.
    """
    if since is None:
        first = first_commit(engine, end)
        cut = " (the boundary of a shallow clone)" if is_cut(engine, first) else ""
        _warn(
            f"history begins at {first.hash}{cut}, {iso(first.date)}: there are no events for the"
            " beads that this commit already contains"
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
        lost = f"history no longer contains {since.strip()}: it" if moment is None else "history"
        cut = " (the boundary of a shallow clone)" if is_cut(engine, first) else ""
        _warn(f"{lost} begins at {first.hash}{cut}, {iso(first.date)}; printing later events")
        return first.hash


def _warn(line: str) -> None:
    click.echo(sanitize(line), err=True)


class _Writer:
    """A writer of one line for each event.

    The lines of one commit are flushed together: a reader never waits for a buffer to fill.
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
        for record in event_records(passed.commit, passed.events, self.rules):
            if self.bead is None or record["bead"] == self.bead:
                yield orjson.dumps(
                    to_cloudevent(record, self.source) if self.source else record,
                    option=orjson.OPT_APPEND_NEWLINE,
                )


class _Interrupted(Exception):
    """Raised when SIGTERM arrived."""


class _Termination:
    """A clock that ends the stream on SIGTERM: during a sleep or between commits, not in a line."""

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
        """Raise _Interrupted if SIGTERM has arrived."""
        if self._requested:
            raise _Interrupted

    def sleep(self, seconds: float) -> None:
        """Sleep, and raise _Interrupted as soon as SIGTERM arrives."""
        self._sleeping = True
        try:
            self.check()
            self._clock.sleep(seconds)
        finally:
            self._sleeping = False
