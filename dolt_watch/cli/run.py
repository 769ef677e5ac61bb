"""``dolt_watch run``."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.composition import build, build_reader
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
from dolt_watch.ledger.schema import check_project
from dolt_watch.log_events import LogEvent, event_fields
from dolt_watch.targets.registry import TargetPool
from dolt_watch.telemetry.health import Health, Server, stall_threshold
from dolt_watch.telemetry.heartbeat_ping import HeartbeatPing
from dolt_watch.telemetry.log_output import LogHandler, RepeatFilter, log_failure, logging_to
from dolt_watch.telemetry.metrics import Metrics
from dolt_watch.telemetry.service_manager import ServiceManager

if TYPE_CHECKING:
    from dolt_watch.config import Settings


logger = logging.getLogger(__name__)

SHORTEST = 0.05
"""Minimum interval between polls, in seconds. A shorter one is a typing error: each poll is a
query.
"""


@click.command()
@settings_options
@click.option(
    "--poll",
    metavar="DURATION",
    help="Longest pause between two polls. Default: the setting `poll`, 2s.",
)
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help=(
        "Port to serve the live page (/), /metrics, /healthz, /readyz and /startupz on. Default:"
        " none."
    ),
)
@click.option("--host", metavar="ADDRESS", help="Address for --port. Default: 127.0.0.1.")
@click.option(
    "--log",
    "form",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    help="Form of the log. auto means text on a terminal, and JSON otherwise.",
)
@click.option(
    "--log-level",
    "level",
    type=click.Choice(["info", "debug"]),
    default="info",
    help="With info, a condition is logged when it begins or changes. With debug, at each tick.",
)
def command(
    poll: str | None, port: int | None, host: str | None, form: str, level: str, **kwargs: Any
) -> int:
    """Dispatch and reap continuously, until SIGTERM, SIGHUP or ^C.

    Continues after outages of the database and of targets. If several replicas run, one works and
    the others stand by. After each tick that would end with exit 0, DOLT_WATCH_PING_URL is
    fetched. systemd is notified (Type=notify, WatchdogSec).

    Example: dolt_watch run --port 9464
    """
    if host is not None and (port is None or not host.strip()):
        raise SettingsError(
            "--host requires an address and --port.",
            where="--host",
            fix="Use for example `--host 0.0.0.0 --port 9464`.",
        )
    settings = load_settings(kwargs)
    where = settings.origins["poll"]
    if poll is not None:  # Decisions record the interval, and the page uses it.
        settings, where = replace(settings, poll=duration(poll, "--poll")), "--poll"
    seconds = settings.poll.total_seconds()
    if seconds < SHORTEST:
        raise SettingsError(
            f"poll must be at least {SHORTEST * 1000:g}ms, but is {seconds * 1000:g}ms.",
            where=where,
            fix="Set poll to 50ms or more, for example 2s.",
        )
    log = LogHandler(json=None if form == "auto" else form == "json")
    repeats = RepeatFilter(verbose=level == "debug")
    log.addFilter(repeats)
    timeouts = [each.timeout for each in settings.targets.values()]
    ping_url = os.environ.get("DOLT_WATCH_PING_URL", "").strip()
    health = Health(
        Metrics(),
        HeartbeatPing(ping_url) if ping_url else None,
        stuck=stall_threshold(timeouts, max(seconds, LONGEST_PAUSE)),
    )
    targets = TargetPool(settings.targets, health.heartbeat)
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

    connect = partial(open_engine, settings.address)
    service = Service(connect, make, health, poll=seconds, between=between)

    _validate_before_start(settings, targets)
    shutdown = Shutdown(
        lambda: under_way(loops[0].executor) if loops else None,
        lambda line: logger.error(
            line, extra=event_fields(LogEvent.UNRECORDED, error="OutcomeNotRecorded")
        ),
        stop=service.stop,
        codes=(0, 1),
    )
    manager = ServiceManager(os.environ, health.is_alive)
    health.on_poll = manager.polled
    serving = _served(host or "127.0.0.1", port, health.routes(), settings)
    with logging_to(log), shutdown, serving, manager:
        try:
            service.run()
        except (DoltWatchError, BrokenPipeError):
            raise
        except Exception as error:  # main() would print plain text on stderr.
            log_failure("error: the service ended", type(error), error)
            return 1
        finally:
            targets.close()
    return 0


def _validate_before_start(settings: Settings, targets: TargetPool) -> None:
    """Check everything that waiting can't fix. A database that can't be reached may come back.

    Raises:
        SettingsError: The settings, a target or the project ID is wrong.
    """
    for name in {*(rule.target for rule in settings.rules), settings.notify.target} - {""}:
        targets(name)
    with (
        contextlib.suppress(DatabaseError),
        contextlib.closing(open_engine(settings.address)) as engine,
    ):
        check_project(engine, settings.project_id)


@contextlib.contextmanager
def _served(
    host: str, port: int | None, routes: Mapping[str, Any], settings: Settings
) -> Iterator[None]:
    if port is None:
        yield
        return
    try:
        server = Server(host, port, {**routes, **_page_routes(settings)})
    except (OSError, UnicodeError) as error:  # UnicodeError: not a host name at all
        where, fix = "--port", "Specify a free port."
        if isinstance(error, socket.gaierror | UnicodeError) or error.errno == errno.EADDRNOTAVAIL:
            where, fix = "--host", "Specify an address of this machine."
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise SettingsError(f"Can't serve on {host}:{port}: {why}.", where=where, fix=fix) from None
    with contextlib.closing(server):
        shown = f"[{host}]" if ":" in host else host
        logger.info(
            f"serving http://{shown}:{server.port}/metrics", extra=event_fields(LogEvent.SERVING)
        )
        yield


def _page_routes(settings: Settings) -> Mapping[str, Any]:
    """Return the routes of the live page."""
    # Late: without --port, the modules of the page would only occupy 10 MB of memory.
    from dolt_watch.inspection.report.live_page import LivePage, unasked_target
    from dolt_watch.inspection.report.place import place_of

    def read(engine: Engine) -> StateReader:
        return build_reader(engine, settings, unasked_target, DatabaseClock())

    return LivePage(partial(open_engine, settings.address), read, place_of(settings)).routes()
