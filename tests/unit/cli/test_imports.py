"""Imports of a command.

A CronJob runs a tick every two minutes, so a tick imports neither the libraries of the views nor
the code of steps that it doesn't reach. A new module in one of the lists costs each such tick about
half a millisecond.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from dolt_watch.engines.address import FileAddress
from tests.support.commands import Commands, commands

pytestmark = pytest.mark.long

CODE = """
import sys
from dolt_watch.cli import group
try:
    group.main(sys.argv[1:], standalone_mode=False)
finally:
    print(*(name for name in sys.modules))
"""
ENGINES = ("dolt_watch.engines", "dolt_watch.core.rules.sqlite_functions")
VIEWS = {"rich", "prometheus_client"}
UNUSED = {"random", "logging.config", "httpx", "jinja2", "importlib.metadata", "tomllib"}
"""Modules of other libraries that cost a tick more than a millisecond."""

IDLE = {
    "checkpoint": "poll",
    "beads": "schema",
    "cli": "options output tick tick_runner dispatch",
    "config": "beads_connection beads_folder converters credentials loader model serialization"
    " sources toml_file",
    "core": "model model.rule rules",
    "targets": "registry settings",
    "": "clock errors log_events sanitize suggestions timestamps",
}
"""Package → the modules that an idle tick may import, without those of its engine."""

NOISE = {
    "checkpoint": "fence state_store turns",
    "beads": "feed_query leases",
    "cli": "composition shutdown",
    "controller": "conflict_policy executor executors loop messages notifications observer parts"
    " reap_table state_tracker tick_result",
    "core": "decisions decisions.attempt_recovery decisions.candidates decisions.circuit_breaker"
    " decisions.hold_reasons decisions.known_runs decisions.planner decisions.policy"
    " decisions.reap_policy model.bead model.columns model.decision model.entry_kinds"
    " model.entry_payloads model.events model.ledger_entry model.observations model.reason_codes"
    " model.row_changes model.state projection projection.attempt_evidence"
    " projection.event_deriver projection.moved_rows projection.projection"
    " projection.target_outages rules rules.compiled_rule",
    "history": "change_feed prefetch reader",
    "ledger": "codec decision_context",
}
"""Package → the further modules of a tick after a commit that leads to no decision."""


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


def loaded(cli: Commands, *args: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *args], env=cli.env, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def named(*packages: dict[str, str]) -> set[str]:
    """Return the modules of these lists, and their packages."""
    found = {"dolt_watch"}
    for package, names in (one for some in packages for one in some.items()):
        prefix = f"dolt_watch.{package}".rstrip(".")
        found |= {prefix, *(f"{prefix}.{name}" for name in names.split())}
    return found


def own(modules: set[str]) -> set[str]:
    """Return the modules of dolt_watch without the engines: each imports only its own."""
    ours = {name for name in modules if name.partition(".")[0] == "dolt_watch"}
    return {name for name in ours if not name.startswith(ENGINES)}


def test_neither_an_idle_tick_nor_a_dispatch_loads_a_library_of_the_views(cli: Commands) -> None:
    cli.here.assign("bd-a")
    assert not VIEWS & loaded(cli, "dispatch")
    assert cli.here.kinds("bd-a") == ["claim", "dispatched"]
    assert not VIEWS & loaded(cli, "tick")
    assert not VIEWS & loaded(cli, "tick", "--dry-run")
    assert VIEWS & loaded(cli, "status") == {"rich"}
    file = str(cli.folder / "metrics.prom")
    assert VIEWS & loaded(cli, "tick", "--metrics-file", file) == {"prometheus_client"}


def test_a_tick_imports_only_the_steps_that_it_reaches(cli: Commands) -> None:
    cli.here.assign("bd-a")
    written = loaded(cli, "dispatch")
    assert cli.here.kinds("bd-a") == ["claim", "dispatched"]
    assert {"dolt_watch.ledger.writer", "dolt_watch.beads.readiness"} <= written, (
        "a dispatch writes, so the lists below can fail"
    )
    idle = loaded(cli, "tick")
    assert own(idle) <= named(IDLE)
    cli.here.sql("UPDATE issues SET title = 'another' WHERE id = 'bd-a'")
    noise = loaded(cli, "tick")
    assert "dolt_watch.controller.loop" in noise, "the change was read"
    assert own(noise) <= named(IDLE, NOISE)


def test_a_tick_on_a_server_imports_no_costly_library() -> None:
    code = (
        "import sys, dolt_watch.cli.tick, dolt_watch.engines.dolt.engine,"
        " dolt_watch.cli.composition\nprint(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not UNUSED & set(done.stdout.split())


def test_run_loads_the_page_only_with_a_port() -> None:
    """Its modules stay in the memory of the service. sqlglot is needed only for new rules."""
    code = "import sys, {0}; print(*({{'jinja2', 'sqlglot'}} & {{*sys.modules}}))"
    for module, found in (
        ("dolt_watch.cli.run", ""),
        ("dolt_watch.inspection.report.live_page", "jinja2"),
    ):
        command = [sys.executable, "-c", code.format(module)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == found, module
