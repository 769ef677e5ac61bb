"""``dolt_watch replay``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
import orjson
from click.core import ParameterSource

from dolt_watch.cli import composition, replay_verify
from dolt_watch.cli.options import (
    check_rule,
    format_option,
    load_settings,
    rule_option,
    settings_options,
)
from dolt_watch.cli.output import show
from dolt_watch.cli.pages import check_page, write_page
from dolt_watch.cli.progress import progress
from dolt_watch.cli.times import absolute
from dolt_watch.config import duration
from dolt_watch.engines.clock import server_time
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import NotMigrated, SettingsError
from dolt_watch.history.revisions import head_commit, resolve_revision, timestamp_in
from dolt_watch.inspection.replay_view import what_if_lines
from dolt_watch.inspection.report.collector import shown_rows
from dolt_watch.inspection.report.html import render
from dolt_watch.inspection.report.what_if import Compared, mentioned_beads
from dolt_watch.inspection.screen import Screen
from dolt_watch.ledger.schema import check_database, check_project
from dolt_watch.replay.replayer import HistoryReplayer
from dolt_watch.replay.simulation import what_if as whatif
from dolt_watch.replay.simulation.formatter import to_dict
from dolt_watch.replay.simulation.schedule import cadence_of
from dolt_watch.replay.simulation.what_if import WhatIfRequest
from dolt_watch.timestamps import iso

if TYPE_CHECKING:
    from dolt_watch.config import Settings
    from dolt_watch.engines import Commit, Engine
    from dolt_watch.replay.simulation.what_if import WhatIfResult


WHATIF = "applies only to a what-if. Remove it or {mode}."
NOT_WITH = {
    "": dict.fromkeys(("--dry-run", "--yes"), "requires --apply: other modes write nothing."),
    "--verify": {
        "--apply": "and --verify exclude each other. Remove one of them.",
        "--from": (
            "applies only to a what-if or --apply. --verify checks every entry of the ledger up to"
            " --to."
        ),
        **dict.fromkeys(
            ("--every", "--when", "--rule", "--run-time", "--report", "--all"),
            WHATIF.format(mode="--verify"),
        ),
        **dict.fromkeys(("--dry-run", "--yes"), "requires --apply: --verify writes nothing."),
    },
    "--apply": {
        "--to": "applies only to a what-if or --verify. --apply continues to HEAD.",
        "--format": "applies only to a what-if or --verify. --apply logs like `tick`.",
        **dict.fromkeys(
            ("--every", "--run-time", "--report", "--all"), WHATIF.format(mode="--apply")
        ),
    },
}
"""Mode ('' for a what-if) → excluded option → text that follows the option in the error."""


@click.command()
@settings_options
@click.option(
    "--from",
    "begins",
    metavar="TIME",
    help=(
        "Start: a timestamp, a duration back from now (7d), 'yesterday', or a commit. Default: the"
        " first commit that decisions can be replayed from."
    ),
)
@click.option("--to", "ends", metavar="TIME", help="End, like --from. Default: HEAD.")
@click.option(
    "--every",
    metavar="DURATION",
    help=(
        "Interval between simulated ticks. Default: that of the recorded ticks. Use 2m to simulate"
        ' the CronJob, or 2s for "run".'
    ),
)
@click.option("--when", metavar="EXPRESSION", help="Replacement for the rule's `when`.")
@rule_option("Rule that --when applies to. Limits the output to beads of this rule.")
@click.option(
    "--run-time",
    metavar="DURATION",
    help="Assumed duration of runs that weren't recorded. Default: median of the recorded runs.",
)
@click.option(
    "--all", "whole", is_flag=True, help="Print all differences. Default: 20 on a terminal."
)
@click.option(
    "--verify",
    "verifies",
    is_flag=True,
    help="Recompute each recorded decision. Exit 1 if one differs.",
)
@click.option(
    "--apply",
    "applies",
    is_flag=True,
    help="Reprocess history after --from, and act on what is due and undecided. Not a simulation.",
)
@click.option(
    "--dry-run", is_flag=True, help="With --apply: print the decisions, but write and send nothing."
)
@click.option("--yes", is_flag=True, help="With --apply: don't ask for confirmation.")
@format_option
@click.option(
    "--report",
    "output",
    metavar="FILE",
    help="Write the result as an HTML page too. Use - for stdout, instead of the text.",
)
def command(
    begins: str | None,
    ends: str | None,
    every: str | None,
    when: str | None,
    rule: str | None,
    run_time: str | None,
    whole: bool,
    verifies: bool,
    applies: bool,
    dry_run: bool,
    yes: bool,
    form: str,
    output: str | None,
    **kwargs: Any,
) -> int:
    """Compare two simulations of the recorded history: under the recorded settings, and under
    changed ones.

    Change settings with --set, --when or --every. Writes and sends nothing, except with --apply.
    --verify recomputes every recorded decision. --apply reprocesses history; it never repeats a
    decision.

    Example: dolt_watch replay --from 2026-04-01 --set rules.agent.stale_after=15m
    """
    _check_options(click.get_current_context())
    unchanged: Settings | None = None
    with suppress(SettingsError):  # Settings can be incomplete without --set.
        unchanged = load_settings({**kwargs, "set": ()})
    settings = _settings(kwargs, when, rule)
    if verifies:
        return replay_verify.verify(settings, ends, form)
    if applies:
        return replay_verify.apply(settings, begins, dry=dry_run, yes=yes)
    if output is not None:
        check_page(output)
    spans = [
        duration(text, option) if text is not None else None
        for text, option in ((every, "--every"), (run_time, "--run-time"))
    ]
    with closing(open_engine(settings.address)) as engine:
        found = _study(engine, settings, unchanged, begins, ends, spans, rule or "")
        if output is not None:
            rows = shown_rows(engine, mentioned_beads(found))
            titles = {bead: row.title for bead, row in rows.items()}
            page = render("whatif", Compared(found, titles))
    if form == "json":
        click.echo(orjson.dumps(to_dict(found)).decode())
    elif output != "-":
        screen = Screen.of_stdout()
        show(screen, what_if_lines(found, screen, every=whole))
    if output is not None:
        write_page(output, page)
        click.echo(f"wrote {output}", err=output == "-" or form == "json")
    return 0


def _check_options(ctx: click.Context) -> None:
    """Check that each given option affects the selected mode.

    Raises:
        UsageError: an option would have no effect.
    """
    defaults = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    given = {
        each.opts[0]
        for each in ctx.command.params
        if each.name and ctx.get_parameter_source(each.name) not in defaults
    }
    mode = next((one for one in ("--verify", "--apply") if one in given), "")
    for other, why in NOT_WITH[mode].items():
        if other in given:
            raise click.UsageError(f"{other} {why}")
    if mode and "--rule" in given and "--when" not in given:
        raise click.UsageError(f"With {mode}, --rule requires --when.")
    if ctx.params["output"] == "-" and ctx.params["form"] == "json":
        raise click.UsageError(
            "--report - and --format json both write to standard output. Remove one of them."
        )


def _settings(kwargs: dict[str, Any], when: str | None, rule: str | None) -> Settings:
    """Return the changed settings. ``--when`` replaces its rule's ``when``, like ``--set``."""
    settings = load_settings({**kwargs})
    names = [one.name for one in settings.rules]
    check_rule(settings, rule)
    if when is None:
        return settings
    if rule is None and len(names) > 1:
        raise SettingsError(
            "There is more than one rule.",
            where="--when",
            fix=f"Name the rule: --rule {names[0]}",
        )
    changed = f"rules.{rule or names[0]}.when={when}"
    return load_settings({**kwargs, "set": (*(kwargs["set"] or ()), changed)})


def _study(
    engine: Engine,
    settings: Settings,
    unchanged: Settings | None,
    begins: str | None,
    ends: str | None,
    spans: Sequence[timedelta | None],
    rule: str,
) -> WhatIfResult:
    check_project(engine, settings.project_id)
    with suppress(NotMigrated):  # A what-if also simulates a database without dolt_watch.
        check_database(engine, settings.project_id)
    head, now = head_commit(engine), server_time(engine)
    begins = absolute(begins, now, "--from") if begins is not None else None
    ends = absolute(ends, now, "--to") if ends is not None else None
    end = resolve_revision(engine, ends or head, head, "--to")
    policy = composition.policy(settings)
    replayer = HistoryReplayer(engine, policy, end.hash)
    begin = (
        resolve_revision(engine, begins, head, "--from")
        if begins is not None
        else whatif.begins(replayer)
    )
    _check_order(engine, (begins, ends), begin, end)
    every, run_time = spans
    request = WhatIfRequest(
        policy=policy,
        every=every or cadence_of(replayer.entries).every,
        begins=begin,
        ends=end,
        run_time=run_time,
        rule=rule,
        unchanged=composition.policy(unchanged) if unchanged is not None else None,
    )
    with progress() as report_progress:
        return whatif.run_what_if(replayer, request, report_progress)


def _check_order(
    engine: Engine, texts: tuple[str | None, str | None], begin: Commit, end: Commit
) -> None:
    first, last = (timestamp_in(text or "") for text in texts)
    backwards = first is not None and last is not None and first > last
    if not backwards and (begin.hash == end.hash or engine.is_ancestor(begin.hash, end.hash)):
        return
    says = (
        f"--from {texts[0]} is later than --to {texts[1]}."
        if backwards
        else f"--from {begin.hash[:10]} ({iso(begin.date)}) is not before --to {end.hash[:10]}"
        f" ({iso(end.date)})."
    )
    raise SettingsError(says, where="--from, --to", fix="Set --from to an ancestor of --to.")
