"""``dolt_watch pause``, and the parts that it shares with ``dolt_watch resume``.

A pause is the kill switch. It is an entry of the ledger, so history shows its author and reason.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.composition import build_reader, ledger
from dolt_watch.cli.options import (
    check_rule,
    current_user,
    load_settings,
    rule_option,
    say,
    settings_options,
)
from dolt_watch.cli.times import parse_end
from dolt_watch.clock import DatabaseClock
from dolt_watch.core.decisions.policy import active_pauses
from dolt_watch.core.model import GLOBAL, Decision, EntryKind, Pause, entry_payloads
from dolt_watch.core.model.reason_codes import ReasonCode
from dolt_watch.engines.clock import server_time
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from dolt_watch.inspection.status import describe_pause
from dolt_watch.ledger.schema import check_database
from dolt_watch.targets.registry import TargetPool

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.core.model import State
    from dolt_watch.engines import Engine

Detail = dict[str, Any]
"""The payload of an entry."""
NO_REASON = "no reason given"
LONGEST_REASON = 500
"""Maximum number of characters of a reason, as for any other text from outside."""


@click.command()
@settings_options
@click.argument("why", required=False, metavar="[REASON]")
@click.option("--reason", metavar="TEXT", help=f"The reason, as an option. Default: {NO_REASON}.")
@rule_option("Pause only this rule. Default: all rules.")
@click.option(
    "--until",
    metavar="TIME",
    help=(
        "When the pause ends: a timestamp (2026-04-18T22:35:46Z), a duration from now (2h), or"
        " 'tomorrow'. Default: when you run `dolt_watch resume`."
    ),
)
@click.option("--all", "everything", is_flag=True, help="Pause reaping too.")
def command(
    why: str | None,
    reason: str | None,
    rule: str | None,
    until: str | None,
    everything: bool,
    **kwargs: Any,
) -> int:
    """Stop dispatching beads. Running agents continue.

    Beads without activity are still reaped, unless you add --all. REASON is stored in history, and
    `status` shows it.

    Example: dolt_watch pause "agents are being upgraded"
    """
    if why is not None and reason is not None:
        raise SettingsError(
            "The reason is specified twice, as an argument and as --reason.",
            where="--reason",
            fix="Omit one of them.",
        )
    given = why if why is not None else reason
    reason = NO_REASON if given is None else given
    check_reason(reason)
    made: list[Pause] = []
    before: list[Pause] = []

    # The end and the replaced pauses depend on the database's clock and on its state.
    def decide(state: State | None, now: datetime) -> Detail:
        end = parse_end(until, now, "--until") if until is not None else None
        made.append(Pause(rule or "", reason, now, current_user(), end, everything))
        if state is not None:
            before.extend(
                pause for pause in active_pauses(state, now) if pause.rule == made[0].rule
            )
        return entry_payloads.Paused(end, everything, made[0].by).encode()

    write("pause", rule, reason, decide, kwargs)
    say(f"paused {describe_pause(made[0])}")
    for pause in before:
        say(f"replaced: {describe_pause(pause)}")
    return 0


def check_reason(reason: str) -> None:
    """Check the text of a reason.

    Raises:
        SettingsError: The reason is empty or too long.
    """
    if not reason.strip():
        raise SettingsError(
            "The reason is empty.",
            where="--reason",
            fix="Specify a reason. It is stored in history.",
        )
    if len(reason) > LONGEST_REASON:
        raise SettingsError(
            f"The reason must have at most {LONGEST_REASON} characters, but has {len(reason):,}.",
            where="--reason",
            fix="Shorten the reason, and put details in a bead.",
        )


def write(
    kind: str,
    rule: str | None,
    reason: str,
    decide: Callable[[State | None, datetime], Detail | None],
    kwargs: Detail,
) -> None:
    """Append one entry about no bead, on the stream ''.

    Args:
        kind: Kind of the entry: "pause" or "resume".
        rule: Name of the rule, or None for all rules.
        reason: Reason of the entry.
        decide: Returns the entry's payload, given the state (None if it can't be read) and the
            database's clock. If it returns None, nothing is written.
        kwargs: The values of ``settings_options``.

    Raises:
        SettingsError: There is no such rule.
        DatabaseError: The database can't be used.
    """
    settings = load_settings(kwargs)
    check_rule(settings, rule)
    with closing(open_engine(settings.address)) as engine:
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


def _state(engine: Engine, settings: Settings) -> State | None:
    """Return the state, or None if it can't be read: a kill switch must not depend on it."""
    try:
        return build_reader(
            engine, settings, TargetPool(settings.targets), DatabaseClock()
        ).current_state()[0]
    except Exception:  # Also an error of dolt_watch itself, for example in a damaged row.
        return None
