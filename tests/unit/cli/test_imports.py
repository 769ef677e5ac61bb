"""Imports of a command.

A CronJob runs a tick every two minutes, so a tick must not import the libraries of the views.
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
    print(*(name for name in ("rich", "prometheus_client") if name in sys.modules))
"""


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


def loaded(cli: Commands, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *args], env=cli.env, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def test_neither_an_idle_tick_nor_a_dispatch_loads_a_library_of_the_views(cli: Commands) -> None:
    cli.here.assign("bd-a")
    assert loaded(cli, "dispatch") == ""
    assert cli.here.kinds("bd-a") == ["claim", "dispatched"]
    assert loaded(cli, "tick") == ""
    assert loaded(cli, "tick", "--dry-run") == ""
    assert loaded(cli, "status") == "rich"
    file = str(cli.folder / "metrics.prom")
    assert loaded(cli, "tick", "--metrics-file", file) == "prometheus_client"


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
