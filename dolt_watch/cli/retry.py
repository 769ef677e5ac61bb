"""``dolt_watch retry`` and what it shares with ``release``: a person's decision about beads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dolt_watch.cli.composition import TargetPool, build_reader, ledger
from dolt_watch.cli.options import current_user, load_settings, say, settings_options
from dolt_watch.cli.pause import check_reason
from dolt_watch.clock import DatabaseClock
from dolt_watch.controller.manual_actions import ManualActions, blocked_by_us, last_entry
from dolt_watch.core.decisions.manual_actions import NothingToDo, Refusal, retry
from dolt_watch.core.model import Phase, entry_payloads
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.revisions import head_commit
from dolt_watch.inspection.why.explanation import no_such_bead
from dolt_watch.ledger.schema import check_database
from dolt_watch.sanitize import sanitize

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.core.decisions.manual_actions import Answer, Found


@click.command()
@click.argument("beads", nargs=-1, metavar="BEAD…")
@settings_options
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="All that are quarantined, held, unknown, or blocked by dolt_watch.",
)
@click.option("--rule", metavar="NAME", help="With --all: only those of this rule.")
@click.option("--reason", default="asked for", show_default=True, help="Why: it stands in history.")
@click.option(
    "--not-running",
    is_flag=True,
    help=(
        "You know that no agent has it. A bead that is unknown or running is not tried again"
        " without this."
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
    """Try beads again now, and count their attempts from the start.

    For a bead that is quarantined, in backoff or held; that dolt_watch blocked (it is set open
    again); or that is unknown or running. Of those last two an agent may still be at work, and a
    retry starts a second one: --not-running is your word that none is.

    Works while a rule is paused: the bead then waits for the end of the pause. Exit 1 where a
    bead could not be retried.

    Example: dolt_watch retry --all --reason "the agent is back"
    """

    if every == bool(beads):
        raise click.UsageError("name the beads, or say --all")
    if rule is not None and not every:
        raise click.UsageError(
            "--rule goes with --all: a bead that is named is meant, whatever its rule"
        )
    check_reason(reason)
    settings = load_settings(kwargs)
    known = [each.name for each in settings.rules]
    if rule is not None and rule not in known:
        raise SettingsError(
            f"no such rule: {rule!r}", where="--rule", fix=f"one of: {', '.join(known)}"
        )
    who = current_user()
    with by_hand(settings) as hand:
        chosen = _every(hand, rule) if every else check_beads(hand, beads)
        if not chosen:
            say("no bead is quarantined, held, unknown, or blocked by dolt_watch")
            return 0
        return do(hand, chosen, lambda found: retry(found, who, reason, not_running), "due now")


def _every(hand: ManualActions, rule: str | None) -> list[str]:

    stuck = (Phase.QUARANTINED, Phase.HELD, Phase.UNKNOWN)
    state, _ = hand.reader.current_state()
    known = {bead.id: bead.rule for bead in state.beads.values() if bead.phase in stuck}
    known |= {
        bead: name for bead, name in blocked_by_us(hand.reader.engine) if bead not in state.beads
    }
    return sorted(bead for bead, name in known.items() if rule in (None, name))


@contextmanager
def by_hand(settings: Settings) -> Iterator[ManualActions]:
    """Raises NotMigrated, and the errors of a connection."""

    engine, targets = open_engine(settings.address), TargetPool(settings)
    try:
        check_database(engine, settings.project_id)
        reader = build_reader(engine, settings, targets, DatabaseClock())
        yield ManualActions(reader, ledger(engine, settings))
    finally:
        targets.close()
        engine.close()


def check_beads(hand: ManualActions, beads: Sequence[str]) -> list[str]:
    """Each of them once. Raises SettingsError before anything is written: one does not exist."""

    engine = hand.reader.engine
    head = head_commit(engine)
    chosen = list(dict.fromkeys(beads))
    for bead in chosen:
        known = engine.query("SELECT 1 FROM issues AS OF ? WHERE id = ?", (head, bead))
        if not known and last_entry(engine, bead) is None:
            raise no_such_bead(engine, bead, head)
    return chosen


def do(
    hand: ManualActions, beads: Sequence[str], decide: Callable[[Found], Answer], done: str
) -> int:
    """One after the other; the exit code. A refusal is told, and the others go on."""

    code = 0
    for bead in beads:
        answer = hand.do(bead, decide)
        if isinstance(answer, Refusal):
            code = 1
            click.echo(sanitize(f"error: {answer.why}", 1000), err=True)
            click.echo(sanitize(f"  fix:   {answer.fix}", 1000), err=True)
        elif isinstance(answer, NothingToDo):
            say(f"{answer.why}: nothing to do")
        else:
            say(f"{bead}: {done} (it was {entry_payloads.ByHand.decode(answer.detail).was})")
    return code
