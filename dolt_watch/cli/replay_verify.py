"""``dolt_watch replay --verify`` and ``--apply``."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Any

import click
import orjson

from dolt_watch.cli.composition import build, build_dry_run, policy
from dolt_watch.cli.options import current_user, say
from dolt_watch.cli.output import console
from dolt_watch.cli.progress import progress
from dolt_watch.cli.times import absolute
from dolt_watch.clock import DatabaseClock
from dolt_watch.config import Settings
from dolt_watch.controller.reprocess import reprocess
from dolt_watch.core.decisions.policy import BOTH
from dolt_watch.engines.clock import server_time
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.revisions import head_commit, resolve_revision
from dolt_watch.ledger.schema import check_database, check_project
from dolt_watch.replay import verification
from dolt_watch.replay.replayer import HistoryReplayer
from dolt_watch.targets.registry import TargetPool
from dolt_watch.text_table import format_table
from dolt_watch.timestamps import iso

SCHEMA = 1
"""Version of the JSON of --verify --format json."""


def verify(settings: Settings, ends: str | None, form: str) -> int:
    """Verify the ledger and print the result. Return exit code 1 if a recorded decision differs."""
    with closing(open_engine(settings.address)) as engine:
        head = head_commit(engine)
        check_project(engine, settings.project_id)
        check_database(engine, settings.project_id)
        # A duration counts from the database's clock, as the dates of commits do.
        if ends is not None:
            ends = absolute(ends, server_time(engine), "--to")
        end = resolve_revision(engine, ends or head, head, "--to")
        replayer = HistoryReplayer(engine, policy(settings), end.hash)
        with progress() as report_progress:
            found = verification.verify(replayer, report_progress)
    # Text and JSON print the same record, so that they agree.
    facts = {
        "schema": SCHEMA,
        "until": replayer.until,
        "entries": len(replayer.entries),
        "same": found.same,
        "as_recorded": found.not_recomputable,
        "not_verifiable": dict(found.unverifiable),
        "differences": [one._asdict() for one in found.differences],
        "planned_beside_and_never_made": [
            {"bead": bead, "commit": commit} for bead, commit in found.planned_not_made
        ],
        "settings": sorted(found.settings),
    }
    if form == "json":
        click.echo(orjson.dumps(facts).decode())
    else:
        _print_result(facts)
    return 1 if found.differences else 0


def _print_result(facts: dict[str, Any]) -> None:

    # The differences come first: they decide the exit code.
    if facts["differences"]:
        rows = [
            (
                one["bead"] or "-",
                str(one["version"] or "-"),
                one["kind"],
                one["field"],
                one["recorded"][:60],
                one["computed"][:60],
            )
            for one in facts["differences"]
        ]
        for line in format_table(
            ("BEAD", "VERSION", "ENTRY", "FIELD", "RECORDED", "COMPUTED"), rows
        ):
            say(line)
    say(
        f"{facts['same']} of {facts['entries']} entries reproduced;"
        f" {len(facts['differences'])} differences"
    )
    if facts["as_recorded"]:
        say(
            f"{facts['as_recorded']} not recomputed, because they aren't decisions (pauses,"
            " resumes, resyncs, releases)"
        )
    for why, number in sorted(facts["not_verifiable"].items()):
        say(f"{number} cannot be verified: {why}")
    # These are no differences: the worker plans again after each write, and may plan otherwise.
    beside = facts["planned_beside_and_never_made"]
    if beside:
        say(
            f"{len(beside)} claims were planned together with a recorded claim, but never made:"
            f" {', '.join(one['bead'] for one in beside[:5])}"
        )
    say("Missing decisions can be detected only for ticks whose target capacity was recorded.")


def apply(settings: Settings, begins: str | None, *, dry: bool, yes: bool) -> int:
    """Move the cursor back to a commit, and run a tick on the undecided work since then.

    Args:
        dry: Print the decisions, but write and send nothing.
        yes: Don't ask for confirmation.

    Raises:
        SettingsError: There is no ``begins``, or no terminal for a confirmation.
    """
    if begins is None:
        raise SettingsError(
            "--apply requires --from.",
            where="--from",
            fix="Run `dolt_watch replay --apply --from COMMIT --dry-run`.",
        )
    with (
        closing(open_engine(settings.address)) as engine,
        closing(TargetPool(settings.targets)) as targets,
    ):
        head = head_commit(engine)
        begins = absolute(begins, server_time(engine), "--from")
        commit = resolve_revision(engine, begins, head, "--from")
        # Reprocessing can start agents.
        if not dry and not yes:
            if sys.stdin is None or not sys.stdin.isatty():
                raise SettingsError(
                    "--apply needs a confirmation, but standard input is not a terminal.",
                    where="--apply",
                    fix="Add --yes, or add --dry-run to print the decisions only.",
                )
            click.confirm(
                f"Reprocess all commits after {commit.hash[:8]} ({iso(commit.date)}), and execute"
                " the decisions that are due?",
                abort=True,
            )
        # A dry run exchanges the executor and uses the same loop.
        make = build_dry_run if dry else build
        loop = make(engine, settings, targets, DatabaseClock())
        with console() as out:
            reprocess(loop.parts, commit, current_user())
            outcome = loop.tick(BOTH)
        out.check()
        return 0 if dry else outcome.exit_code
