"""``dolt_watch pause`` and ``dolt_watch resume``: the kill switch, audited in history."""

from __future__ import annotations

from typing import Any

import click

from dolt_watch.cli.common import load_settings, person, settings_options


@click.command()
@settings_options
@click.option("--reason", required=True, help="Why: it stands in history and in status.")
@click.option("--rule", default="", metavar="NAME", help="Only this rule; default: all.")
@click.option("--until", metavar="TIME", help="Ends by itself at this time (ISO 8601).")
@click.option("--all", "everything", is_flag=True, help="Reaping too.")
def command(reason: str, rule: str, until: str | None, everything: bool, **kwargs: Any) -> int:
    """Stop handing out beads. Running beads go on, and silent ones are still reaped (unless --all).

    Example: dolt_watch pause --reason "agents are being upgraded"
    """
    from dolt_watch.times import utc

    try:
        end = utc(until)
    except ValueError:
        raise click.BadParameter(f"{until!r} is no time: write 2026-04-18T22:35:46Z", param_hint="--until") from None
    detail = {"until": end.isoformat() if end else None, "reaping": everything, "by": person()}
    write("pause", rule, reason, detail, kwargs)
    click.echo(f"paused {rule or 'all rules'}: {reason}")
    return 0


def write(kind: str, rule: str, reason: str, detail: dict[str, Any], kwargs: dict[str, Any]) -> None:
    """One decision about no bead, on the stream ''."""
    from dolt_watch.cli.wiring import ledger
    from dolt_watch.engines.address import open_engine
    from dolt_watch.errors import SettingsError
    from dolt_watch.migrate import check_database
    from dolt_watch.model import GLOBAL, Decision, Kind

    settings = load_settings(kwargs)
    if rule and rule not in [each.name for each in settings.rules]:
        names = ", ".join(each.name for each in settings.rules)
        raise SettingsError(f"no such rule: {rule!r}", where="--rule", fix=f"one of: {names}")
    engine = open_engine(settings.address)
    try:
        check_database(engine, settings.project_id)
        ledger(engine, settings).report(Decision(Kind(kind), GLOBAL, rule, 0, "", reason=reason, detail=detail))
    finally:
        engine.close()
