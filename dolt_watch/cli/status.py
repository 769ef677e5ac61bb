"""``dolt_watch status``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from dolt_watch.cli.common import load_settings, say, settings_options


@click.command()
@settings_options
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(form: str, **kwargs: Any) -> int:
    """What waits, runs and is held, and why; the target's capacity; the last commit folded and the last decision.

    Writes nothing.

    Example: dolt_watch status --format json
    """
    from dolt_watch.cli.wiring import Targets, build
    from dolt_watch.core.policy import Scope
    from dolt_watch.engines.address import open_engine
    from dolt_watch.journal import entries
    from dolt_watch.times import DatabaseClock

    settings = load_settings(kwargs)
    engine, targets = open_engine(settings.address), Targets(settings)
    try:
        loop = build(engine, settings, targets, DatabaseClock(), lambda line: None, dry=True)
        seen = loop.survey(Scope(dispatch=True, reap=True))
        look = seen.look
        folded = engine.commit_of(look.commit) if look.commit else None
        last = next(iter(entries(engine, limit=1)), None)
        capacity = {name: _capacity(targets, name) for name in sorted({rule.target for rule in settings.rules})}
    finally:
        targets.close()
        engine.close()
    beads = [
        {
            "bead": bead.id, "phase": bead.phase.value, "rule": bead.rule, "since": bead.since, "attempt": bead.attempt,
            "job": bead.job, "why": _why(seen.plan.holds.get(bead.id), bead.reason),
        }
        for bead in sorted(seen.state.beads.values(), key=lambda bead: (bead.phase, bead.since, bead.id))
    ]  # fmt: skip
    facts = {
        "schema": 1, "now": seen.now, "head": look.head, "folded": look.commit or None,
        "folded_at": folded.date if folded else None, "behind": look.head != look.commit, "merging": seen.merging,
        "pauses": [pause.reason for pause in seen.state.pauses.values()], "targets": capacity, "beads": beads,
        "last_decision": {"bead": last.bead, "kind": last.kind.value, "at": last.at} if last else None,
    }  # fmt: skip
    if form == "json":
        import orjson

        click.echo(orjson.dumps(facts).decode())
    else:
        _print(facts, seen.now)
    return 0


def _why(hold: Any, reason: str) -> str:
    return hold.why if hold is not None else reason


def _capacity(targets: Any, name: str) -> dict[str, Any]:
    from dolt_watch.errors import DoltWatchError

    try:
        capacity = targets(name).capacity()
    except DoltWatchError as error:
        return {"slots": None, "why": error.message, "down": True}
    return {"slots": capacity.slots, "why": capacity.why, "down": capacity.down}


def _print(facts: dict[str, Any], now: datetime) -> None:
    from dolt_watch.journal import table
    from dolt_watch.times import ago

    folded = f"{facts['folded'][:8]}, {ago(now - facts['folded_at'])} ago" if facts["folded_at"] else "nothing yet"
    say(f"folded:   {folded}{' (HEAD has moved on)' if facts['behind'] else ''}")
    for name, capacity in facts["targets"].items():
        slots = "down" if capacity["down"] else f"{capacity['slots']} free"
        say(f"target:   {name}, {slots}{': ' + capacity['why'] if capacity['why'] else ''}")
    last = facts["last_decision"]
    what = f"{last['kind']} {last['bead']}".rstrip() if last else ""  # a decision about no bead names none
    say(f"decided:  {what}, {ago(now - last['at'])} ago" if last else "decided:  nothing yet")
    for reason in facts["pauses"]:
        say(f"paused:   {reason}")
    if facts["merging"]:
        say("merging:  somebody's merge stands unfinished: nothing is decided until it is committed or aborted")
    if not facts["beads"]:
        say("no bead waits, runs or is held")
        return
    rows = [
        (bead["bead"], bead["phase"], ago(now - bead["since"]), bead["rule"], bead["why"] or (f"job {bead['job']}" if bead["job"] else "-"))
        for bead in facts["beads"]
    ]  # fmt: skip
    for line in table(("BEAD", "PHASE", "FOR", "RULE", "WHY"), rows):
        say(line)
