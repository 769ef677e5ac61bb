"""``dolt_watch run``."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.composition import TargetPool, build, build_reader
from dolt_watch.cli.options import load_settings, settings_options
from dolt_watch.cli.shutdown import Shutdown
from dolt_watch.clock import DatabaseClock
from dolt_watch.config import duration
from dolt_watch.controller.executors import under_way
from dolt_watch.controller.loop import ControlLoop
from dolt_watch.controller.service import LONGEST_PAUSE, Service
from dolt_watch.controller.state_reader import StateReader
from dolt_watch.engines import Engine
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import DatabaseError, DoltWatchError, SettingsError
from dolt_watch.inspection.report import live_page
from dolt_watch.inspection.report.place import place_of
from dolt_watch.ledger.schema import check_project
from dolt_watch.log_events import LogEvent, event_fields
from dolt_watch.telemetry.heartbeat_ping import HeartbeatPing
from dolt_watch.telemetry.log_output import LogHandler, RepeatFilter, log_failure, logging_to

if TYPE_CHECKING:
    from dolt_watch.config import Settings


logger = logging.getLogger(__name__)

SHORTEST = 0.05
"""Seconds. A shorter pause is a slip."""


@click.command()
@settings_options
@click.option(
    "--poll",
    metavar="DURATION",
    help="Longest pause between two looks. Default: the setting poll, 2s.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=(
        "Serve the live report (/), /metrics, /healthz, /readyz and /startupz here. Default:"
        " nothing is served."
    ),
)
@click.option("--host", metavar="ADDRESS", help="Address for --port. Default: 127.0.0.1.")
@click.option(
    "--log",
    "form",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    help="auto: text on a terminal, else JSON.",
)
@click.option(
    "--log-level",
    "level",
    type=click.Choice(["info", "debug"]),
    default="info",
    show_default=True,
    help="info: a condition is said when it begins or changes. debug: at each tick.",
)
def command(
    poll: str | None, port: int | None, host: str | None, form: str, level: str, **kwargs: Any
) -> int:
    """Stay up: dispatch and reap as things happen, until SIGTERM, SIGHUP or ^C.

    Survives the database and the target going away. Of several replicas one works, the others
    stand by. DOLT_WATCH_PING_URL is fetched after good ticks: those that would end a command
    with exit 0.

    Example: dolt_watch run --port 9464
    """

    if host is not None and (port is None or not host.strip()):
        raise click.UsageError(
            "--host is an address to serve on: it wants a name or a number, and --port"
        )
    settings = load_settings(kwargs)
    seconds = (settings.poll if poll is None else duration(poll, "--poll")).total_seconds()
    if seconds < SHORTEST:
        where = settings.origins["poll"] if poll is None else "--poll"
        raise SettingsError(
            f"poll is a pause of at least 50ms, not {seconds:g}s", where=where, fix="write 2s"
        )
    log = LogHandler(json=None if form == "auto" else form == "json")
    repeats = RepeatFilter(verbose=level == "debug")
    log.addFilter(repeats)
    timeouts = [each.timeout for each in settings.targets.values()]
    health = _health(
        os.environ.get("DOLT_WATCH_PING_URL", "").strip(), timeouts, max(seconds, LONGEST_PAUSE)
    )
    targets = TargetPool(settings, health.heartbeat)
    loops: list[ControlLoop] = []

    def make(engine: Engine) -> ControlLoop:
        loop = build(
            engine,
            settings,
            targets,
            DatabaseClock(),
            patient=False,
            worker={"host": socket.gethostname(), "by": "run"},
            on_progress=health.heartbeat,
        )
        loops[:] = [loop]
        return loop

    def between() -> None:
        repeats.next_tick()
        log.check()

    service = Service(
        lambda: open_engine(settings.address), make, health, poll=seconds, between=between
    )

    def read(engine: Engine) -> StateReader:
        return build_reader(engine, settings, live_page.UnaskedTargets(), DatabaseClock())

    _usable(settings, targets)
    routes = live_page.routes(lambda: open_engine(settings.address), read, place_of(settings))
    shutdown = Shutdown(
        lambda: under_way(loops[0].executor) if loops else None,
        lambda line: logger.error(
            line, extra=event_fields(LogEvent.UNRECORDED, error="OutcomeNotRecorded")
        ),
        stop=service.stop,
        codes=(0, 1),
    )
    with logging_to(log), shutdown, _served(host or "127.0.0.1", port, health.pages(), routes):
        try:
            service.run()
        except (DoltWatchError, BrokenPipeError):
            raise
        except Exception as error:  # main() would write plain text to stderr
            log_failure("error: the service ended", type(error), error)
            return 1
        finally:
            targets.close()
    return 0


def _usable(settings: Settings, targets: TargetPool) -> None:
    """What no waiting mends ends it before it begins: settings.

    A database that is away does not; it may come. Raises SettingsError.
    """

    for name in {*(rule.target for rule in settings.rules), settings.notify.target} - {""}:
        targets(name)
    with contextlib.suppress(DatabaseError):
        engine = open_engine(settings.address)
        try:
            check_project(engine, settings.project_id)
        finally:
            engine.close()


def _health(ping_url: str, timeouts: Sequence[timedelta], pause: float) -> Any:
    try:
        from dolt_watch.telemetry.health import Health, stall_threshold
        from dolt_watch.telemetry.metrics import Metrics
    except ImportError as error:
        raise SettingsError(
            f"`dolt_watch run` needs more than is installed: {error}",
            where="dolt_watch run",
            fix="pip install 'dolt-watch[service]'",
        ) from error

    return Health(
        Metrics(),
        HeartbeatPing(ping_url) if ping_url else None,
        stuck=stall_threshold(timeouts, pause),
    )


@contextlib.contextmanager
def _served(host: str, port: int | None, pages: Any, routes: Any) -> Iterator[None]:
    if port is None:
        yield
        return
    from dolt_watch.telemetry.health import Server

    try:
        server = Server(host, port, pages, routes=routes)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host at all
        nowhere = (
            isinstance(error, socket.gaierror | UnicodeError) or error.errno == errno.EADDRNOTAVAIL
        )
        why = error.strerror if isinstance(error, OSError) else "no name of a host"
        fix = "name an address of this machine" if nowhere else "name a free port"
        where = "--host" if nowhere else "--port"
        raise SettingsError(f"cannot serve on {host}:{port}: {why}", where=where, fix=fix) from None
    logger.info(
        f"serving http://{host}:{server.port}/metrics", extra=event_fields(LogEvent.SERVING)
    )
    try:
        yield
    finally:
        server.close()
