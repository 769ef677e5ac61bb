"""Each documented installation has the dependencies of its commands.

The test environment has every dependency, so no other test finds a missing one.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.deploy.manifests import container, containers, render, with_pods
from tests.support.served import healthz

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PAGES = {
    str(page.relative_to(ROOT)): page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}


def named(text: str) -> list[set[str]]:
    """Return the extras of each installation of dolt_watch in a text."""
    found = re.findall(
        r"pip(?: --?[\w-]+| \S+/python)* install (?:--?[\w-]+ )*['\"]?(?:\.|dolt-watch|(?:\$\(echo"
        r" )?/dist/\*\.whl\)?)(?:\[([\w,]+)\])?(?=['\"\s`])",
        text,
    )
    return [set(each.split(",")) - {""} for each in found]


def absent(extras: set[str]) -> set[str]:
    """Return the modules of this environment that an installation with these extras lacks."""
    wanted, got = (
        [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])],
        set[str](),
    )
    while wanted:
        one = Requirement(wanted.pop())
        if one.name.lower() in got or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        got.add(one.name.lower())
        with contextlib.suppress(metadata.PackageNotFoundError):
            wanted += metadata.requires(one.name) or []
    theirs = metadata.packages_distributions()
    return {
        name
        for name, owners in theirs.items()
        if name.isidentifier()
        and not {re.sub(r"[-_.]+", "-", each).lower() for each in owners} & {*got, "dolt-watch"}
    }


def command(extras: set[str], *args: str) -> list[str]:
    """Return the command that runs dolt_watch as in an installation with these extras."""
    without = f"import sys; sys.modules.update(dict.fromkeys({sorted(absent(extras))!r}))"
    return [sys.executable, "-c", f"{without}; from dolt_watch.cli import main; main()", *args]


def environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "DOLT_WATCH_DATABASE": "dolt://u@127.0.0.1:1/beads",
        "BEADBOARD_URL": "http://127.0.0.1:9",
    }


@pytest.mark.parametrize("args", [("init", "--if-needed"), ("dispatch",), ("reap",)])
def test_the_image_has_what_the_cronjobs_run(args: tuple[str, ...], tmp_path: Path) -> None:
    pods = with_pods(render("base"))
    assert args in {tuple(one["args"]) for each in pods for one in containers(each)}
    (extras,) = named(DOCKERFILE)
    done = subprocess.run(
        command(extras, *args), cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 3, f"as far as the database, which is not there: {done.stderr}"


def test_the_image_has_what_the_service_runs(tmp_path: Path) -> None:
    (args,) = {
        tuple(container(each)["args"])
        for each in with_pods(render("overlays/service"))
        if each["kind"] == "Deployment"
    }
    (extras,) = named(DOCKERFILE)
    assert healthz(command(extras, *args), tmp_path, environment()) == (200, "ok\n")


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if named(text)])
def test_a_page_names_extras_that_exist(page: str) -> None:
    for extras in named(PAGES[page]):
        assert extras <= set(EXTRAS)


def test_run_needs_no_extra(tmp_path: Path) -> None:
    assert healthz(command(set(), "run", "--port", "9464"), tmp_path, environment()) == (
        200,
        "ok\n",
    )


def test_the_quickstart_and_the_readme_show_a_plain_installation() -> None:
    assert set() in named(PAGES["README.md"])
    assert {frozenset(each) for each in named(PAGES["docs/quickstart.md"])} == {frozenset()}


def test_what_an_installation_line_names() -> None:
    assert named("pip install . x; `pip install '.[a,b]'`; pip install -U pip") == [
        set(),
        {"a", "b"},
    ]
