"""``dolt_watch why``."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import orjson

from dolt_watch.checkpoint.state_store import encode_bead
from dolt_watch.cli.composition import build_reader, policy
from dolt_watch.cli.options import (
    complete_bead,
    format_option,
    load_settings,
    settings_options,
    utf8,
)
from dolt_watch.cli.output import show
from dolt_watch.cli.times import absolute
from dolt_watch.clock import DatabaseClock
from dolt_watch.engines.clock import server_time
from dolt_watch.engines.connect import open_engine
from dolt_watch.errors import NoSuchCommit, NotMigrated
from dolt_watch.history.reader import first_commit
from dolt_watch.history.revisions import head_commit, resolve_revision, timestamp_in
from dolt_watch.inspection.bead_ids import resolve_bead_id
from dolt_watch.inspection.event_export import event_records
from dolt_watch.inspection.screen import Screen
from dolt_watch.inspection.why.decision_snapshot import (
    UNSEEN,
    FaultTolerantTargets,
    snapshot_at,
    snapshot_now,
)
from dolt_watch.inspection.why.explanation import explain
from dolt_watch.inspection.why.view import explanation_lines
from dolt_watch.ledger.schema import check_project
from dolt_watch.targets.registry import TargetPool
from dolt_watch.timestamps import iso

if TYPE_CHECKING:
    from datetime import datetime

    from dolt_watch.config import Settings
    from dolt_watch.engines import Engine
    from dolt_watch.inspection.why.decision_snapshot import DecisionSnapshot
    from dolt_watch.inspection.why.explanation import Explanation


@click.command()
@click.argument("bead", metavar="BEAD_ID", shell_complete=complete_bead, callback=utf8)
@settings_options
@click.option("--all", "every", is_flag=True, help="Show each condition of each rule.")
@click.option(
    "--as-of",
    metavar="TIME",
    help=(
        "Explain the bead as of TIME: a timestamp, a duration back from now (2h), 'yesterday', or a"
        " commit. Default: now."
    ),
)
@format_option
def command(bead: str, as_of: str | None, every: bool, form: str, **kwargs: Any) -> int:
    """Explain why a bead is dispatched or not: the verdict, what must change, each condition with
    its value, its attempts, and its history.

    Writes nothing.

    Example: dolt_watch why bd-12 --as-of 2026-04-18T22:35:46Z
    """
    if every and form == "json":
        raise click.UsageError("JSON contains all conditions: omit --all.")
    settings = load_settings(kwargs)
    with (
        closing(open_engine(settings.address)) as engine,
        closing(TargetPool(settings.targets)) as pool,
    ):
        check_project(engine, settings.project_id)
        bead = resolve_bead_id(engine, bead)
        until = head_commit(engine)
        take = partial(_now, engine, settings, until, bead, FaultTolerantTargets(pool))
        if as_of is not None:
            until, now = _moment(engine, as_of, until)
            take = partial(_then, engine, settings, until, now, bead)
        found = explain(engine, bead, until, take)
    if form == "json":
        click.echo(orjson.dumps(_facts(found)).decode())
        return 0
    screen = Screen.of_stdout()
    show(screen, explanation_lines(found, screen, every=every))
    return 0


def _moment(engine: Engine, text: str, head: str) -> tuple[str, datetime]:
    """Return the commit, and the time at which conditions are checked: a commit's is its date."""
    text = absolute(text, server_time(engine), "--as-of")
    try:
        commit = resolve_revision(engine, text, head, "--as-of")
    except NoSuchCommit as error:
        if error.whole:
            first = first_commit(engine, head)
            error.with_detail(f" any more. It begins at {first.hash}, {iso(first.date)}")
        raise
    return commit.hash, timestamp_in(text) or commit.date


def _then(
    engine: Engine, settings: Settings, commit: str, now: datetime, bead: str
) -> DecisionSnapshot:
    snapshot = snapshot_at(engine, policy(settings), commit, now, bead, None)
    return replace(snapshot, notes=(*snapshot.notes, UNSEEN))


def _now(
    engine: Engine, settings: Settings, head: str, bead: str, targets: FaultTolerantTargets
) -> DecisionSnapshot:
    """Return the snapshot of the loop.

    A database without the loop's state (never initialized, a replica, another branch) is read
    from history.
    """
    try:
        return snapshot_now(build_reader(engine, settings, targets, DatabaseClock()), bead)
    except NotMigrated:
        now = server_time(engine)
        return snapshot_at(engine, policy(settings), head, now, bead, targets.capacity)


def _facts(found: Explanation) -> dict[str, Any]:
    snapshot = found.snapshot
    # These keys are documented (docs/reference/json.md): names of classes may change, keys may not.
    return {
        "schema": 1,
        "bead": found.bead,
        "title": found.title,
        "verdict": found.verdict,
        "now": snapshot.now,
        "commit": snapshot.commit,
        "history_begins": {
            "commit": found.begins.hash,
            "time": found.begins.date,
            "with_it": found.from_the_beginning,
            "shallow": found.shallow,
        },
        "life": [
            record
            for step in found.timeline
            for record in event_records(step.commit, step.events, snapshot.policy.rules)
        ],
        "phase": found.phase or None,
        "state": encode_bead(found.state) if found.state is not None else None,
        "rules": [
            {
                "rule": each.rule,
                "reason": each.reason or None,
                "rule_held": each.rule_held or None,
                "conditions": [one._asdict() for one in each.conditions],
                "to_go": list(each.to_go),
                "verdict": each.verdict,
            }
            for each in found.views
        ],
        "attempts": [one.to_dict() for one in found.attempts],
        "notes": list(snapshot.notes),
    }
