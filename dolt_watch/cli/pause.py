"""``dolt_watch pause`` and ``dolt_watch resume``: the kill switch, audited in history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.composition import TargetPool, build_reader, ledger
from dolt_watch.cli.options import current_user, load_settings, parse_moment, say, settings_options
from dolt_watch.clock import DatabaseClock
from dolt_watch.core.decisions.policy import active_pauses
from dolt_watch.core.model import GLOBAL, Decision, EntryKind, Pause, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.engines.clock import server_time
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import DoltWatchError, SettingsError
from dolt_watch.inspection.status import describe_pause
from dolt_watch.ledger.schema import check_database

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.core.model import State
    from dolt_watch.engines import Engine


Detail = dict[str, Any]


@click.command()
@settings_options
@click.argument("why", required=False, metavar="[REASON]")
@click.option("--reason", help="The same, as an option. Without either: 'no reason given'.")
@click.option("--rule", metavar="NAME", help="Only this rule; default: all.")
@click.option(
    "--until",
    metavar="TIME",
    help="Ends by itself: a time (2026-04-18T22:35:46Z), or a span from now (2h).",
)
@click.option("--all", "everything", is_flag=True, help="Reaping too.")
def command(
    why: str | None,
    reason: str | None,
    rule: str | None,
    until: str | None,
    everything: bool,
    **kwargs: Any,
) -> int:
    """Stop handing out beads. Running beads go on, and silent ones are still reaped (unless --all).

    REASON stands in history and in status.

    Example: dolt_watch pause "agents are being upgraded"
    """

    if why is not None and reason is not None:
        raise click.UsageError("the reason is given twice: as an argument, and by --reason")
    given = why if why is not None else reason
    reason = "no reason given" if given is None else given
    check_reason(reason)
    made: list[Pause] = []
    before: list[Pause] = []

    def decide(state: State | None, now: datetime) -> Detail:
        end = parse_moment(until, now, "--until", ahead=True) if until is not None else None
        if end is not None and end <= now:
            raise click.BadParameter(
                f"{until!r} is not after now, which is {now:%Y-%m-%dT%H:%M:%SZ} by the database's"
                " clock",
                param_hint="--until",
            )
        made.append(Pause(rule or "", reason, now, current_user(), end, everything))
        if state is not None:
            before.extend(
                pause for pause in active_pauses(state, now) if pause.rule == made[0].rule
            )
        return entry_payloads.Paused(end, everything, made[0].by).encode()

    write("pause", rule, reason, decide, kwargs)
    say(f"paused {describe_pause(made[0])}")
    for pause in before:
        say(f"in place of: {describe_pause(pause)}")
    return 0


LONGEST_REASON = 500
"""What an entry keeps of it: no more than of any other text from outside."""


def check_reason(reason: str) -> None:
    """Raises BadParameter."""
    if not reason.strip():
        raise click.BadParameter(
            "say why: it is what people find in history", param_hint="--reason"
        )
    if len(reason) > LONGEST_REASON:
        raise click.BadParameter(
            f"at most {LONGEST_REASON} characters, not {len(reason):,}: the rest belongs into a"
            " bead",
            param_hint="--reason",
        )


def write(
    kind: str,
    rule: str | None,
    reason: str,
    decide: Callable[[State | None, datetime], Detail | None],
    kwargs: Detail,
) -> None:
    """One decision about no bead, on the stream ''.

    ``decide``: its detail, by what stands and the database's clock; None: nothing is written.
    """

    settings = load_settings(kwargs)
    if rule is not None and rule not in [each.name for each in settings.rules]:
        names = ", ".join(each.name for each in settings.rules)
        raise SettingsError(f"no such rule: {rule!r}", where="--rule", fix=f"one of: {names}")
    engine = open_engine(settings.address)
    try:
        check_database(engine, settings.project_id)
        now = server_time(engine)
        detail = decide(_state(engine, settings), now)
        if detail is not None:
            one = Decision(
                kind=EntryKind(kind),
                bead=GLOBAL,
                rule=rule or "",
                attempt=0,
                cause="",
                reason=reason,
                reason_code=ReasonCode.REQUESTED,
                detail=detail,
            )
            ledger(engine, settings).record(one)
    finally:
        engine.close()


def _state(engine: Engine, settings: Settings) -> State | None:
    """What stands now. None where that cannot be said: a kill switch must not depend on it."""

    try:
        return build_reader(
            engine, settings, TargetPool(settings), DatabaseClock()
        ).current_state()[0]
    except DoltWatchError:
        return None
