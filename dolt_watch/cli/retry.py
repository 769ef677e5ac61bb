"""``dolt_watch retry``, and the parts that it shares with ``release`` and ``stop``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.composition import build_reader, ledger
from dolt_watch.cli.options import (
    beads_argument,
    check_rule,
    complain,
    current_user,
    load_settings,
    rule_option,
    say,
    settings_options,
)
from dolt_watch.cli.pause import check_reason
from dolt_watch.clock import DatabaseClock
from dolt_watch.controller.manual_actions import ManualActions, blocked_by_us, last_entry
from dolt_watch.core.decisions.manual_actions import NothingToDo, Refusal, retry
from dolt_watch.core.model import Decision, Phase, entry_payloads
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.revisions import head_commit
from dolt_watch.inspection.bead_ids import resolve_bead_id
from dolt_watch.inspection.why.explanation import no_such_bead
from dolt_watch.ledger.schema import check_database
from dolt_watch.targets.registry import TargetPool

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.core.decisions.manual_actions import Answer, Found

reason_option = click.option(
    "--reason",
    metavar="TEXT",
    default="asked for",
    help="The reason, which is stored in history.",
)


@click.command()
@beads_argument(required=False)
@settings_options
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Retry all beads that are quarantined, held, unknown, or blocked by dolt_watch.",
)
@rule_option("With --all: retry only beads of this rule.")
@reason_option
@click.option(
    "--not-running",
    is_flag=True,
    help=(
        "Confirm that no agent is working on the beads. Required for beads that are unknown or"
        " running."
    ),
)
def command(
    beads: tuple[str, ...],
    every: bool,
    rule: str | None,
    reason: str,
    not_running: bool,
    **kwargs: Any,
) -> int:
    """Try beads again now, and reset their attempt count.

    Works for beads that are quarantined, in backoff, held, unknown or running, and for beads that
    dolt_watch blocked, which are set open again. If a bead is unknown or running, an agent may
    still be working on it, and a retry starts a second one. Add --not-running to confirm that no
    agent is working on it.

    If the rule is paused, the bead waits until the pause ends. Exit 1 if a bead could not be
    retried.

    Example: dolt_watch retry --all --reason "the agent is back"
    """
    if every == bool(beads):
        raise SettingsError(
            "BEAD_ID and --all are specified together." if every else "No bead is specified.",
            where="BEAD_ID",
            fix="Specify bead IDs, or --all.",
        )
    if rule is not None and not every:
        raise SettingsError(
            "--rule requires --all: beads that are specified by ID are retried whatever their"
            " rule is.",
            where="--rule",
            fix="Omit --rule, or use --all instead of bead IDs.",
        )
    check_reason(reason)
    settings = load_settings(kwargs)
    check_rule(settings, rule)
    who = current_user()
    with by_hand(settings) as hand:
        chosen = _every(hand, rule) if every else check_beads(hand, beads)
        if not chosen:
            say("no bead is quarantined, held, unknown, or blocked by dolt_watch")
            return 0
        return do(hand, chosen, lambda found: retry(found, who, reason, not_running), "due now")


def _every(hand: ManualActions, rule: str | None) -> list[str]:
    """Return the beads that --all selects, in the order of their IDs."""
    stuck = (Phase.QUARANTINED, Phase.HELD, Phase.UNKNOWN)
    state, _ = hand.reader.current_state()
    known = {bead.id: bead.rule for bead in state.beads.values() if bead.phase in stuck}
    known |= {
        bead: name for bead, name in blocked_by_us(hand.reader.engine) if bead not in state.beads
    }
    return sorted(bead for bead, name in known.items() if rule in (None, name))


@contextmanager
def by_hand(settings: Settings) -> Iterator[ManualActions]:
    """Open the database for manual actions until the block ends.

    Raises:
        DatabaseError: The database can't be used, or dolt_watch's tables are missing.
    """
    with (
        closing(open_engine(settings.address)) as engine,
        closing(TargetPool(settings.targets)) as targets,
    ):
        check_database(engine, settings.project_id)
        reader = build_reader(engine, settings, targets, DatabaseClock())
        yield ManualActions(reader, ledger(engine, settings))


def check_beads(hand: ManualActions, beads: Sequence[str]) -> list[str]:
    """Return the whole IDs of beads, each once.

    Raises:
        SettingsError: A bead doesn't exist. Nothing is written then, for no bead.
    """
    engine = hand.reader.engine
    head = head_commit(engine)
    chosen = list(dict.fromkeys(resolve_bead_id(engine, bead) for bead in beads))
    for bead in chosen:
        known = engine.query("SELECT 1 FROM issues AS OF ? WHERE id = ?", (head, bead))
        if not known and last_entry(engine, bead) is None:
            raise no_such_bead(engine, bead, head)
    return chosen


def do(
    hand: ManualActions, beads: Sequence[str], decide: Callable[[Found], Answer], done: str
) -> int:
    """Act on one bead after another. A refusal is printed, and the next bead follows.

    Args:
        hand: The open database.
        beads: Whole IDs.
        decide: Returns the decision for a bead.
        done: What is printed after an ID if the decision was recorded.

    Returns:
        The exit code: 1 if an action was refused.
    """
    code = 0
    for bead in beads:
        answer = act(hand, bead, decide)
        if isinstance(answer, Decision):
            say(f"{bead}: {done} (it was {entry_payloads.ByHand.decode(answer.detail).was})")
        code |= isinstance(answer, Refusal)
    return code


def act(hand: ManualActions, bead: str, decide: Callable[[Found], Answer]) -> Answer:
    """Act on a bead, and print a refusal in the form of an error, or that nothing is to do."""
    answer = hand.do(bead, decide)
    if isinstance(answer, Refusal):
        complain(f"error: {answer.why}\n  fix:   {answer.fix}")
    elif isinstance(answer, NothingToDo):
        say(f"{answer.why}: nothing to do")
    return answer
