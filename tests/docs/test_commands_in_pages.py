"""Every command of dolt_watch in a page exists, with the options in the page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dolt_watch.cli import COMMANDS, group
from tests.docs.conftest import ROOT
from tools.docs import site

PAGES = [page for page in site.pages() if page.name != "CHANGELOG.md"]
FENCED = re.compile(r"^ *```(sh|console)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINE = {
    "sh": re.compile(r"^\s*(dolt_watch [^\n]*)$", re.MULTILINE),
    "console": re.compile(r"^\s*\$ (dolt_watch [^\n]*)$", re.MULTILINE),
}
INLINE = re.compile(r"`(dolt_watch [^`\n]*)`")


def shown(text: str) -> Iterator[list[str]]:
    """Yield the words of each command in a page, up to a pipe or a comment."""
    lines = [line for kind, body in FENCED.findall(text) for line in LINE[kind].findall(body)]
    for command in [*lines, *INLINE.findall(FENCED.sub("", text))]:
        words = re.split(r"  +#| \||;| 2>| >|&&| …", command)[0]
        try:
            yield shlex.split(words)[1:]
        except ValueError:  # The text only looks like a command.
            continue


def wrong(words: list[str]) -> str:
    """Return the fault of a command, or '' if it has none."""
    shared = [word for param in group.params for word in param.opts] + ["--help", "--version"]
    words = [word for word in words if word not in ("--debug",)]
    name = words[0] if words else ""
    if name.startswith("-") or not re.fullmatch(r"[a-z]+", name):
        return "" if name in shared or not name.startswith("-") else f"no option {name}"
    if name not in COMMANDS:
        return f"no command {name}"
    command = group.get_command(click.Context(group), name)
    assert command is not None
    known = {word for param in command.params for word in (*param.opts, *param.secondary_opts)}
    unknown = [
        option
        for word in words[1:]
        if (option := word.partition("=")[0]).startswith("-")
        and option not in known | {"--help", "-"}
    ]
    return f"{name} has no {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page: Path) -> None:
    found = {" ".join(words): wrong(words) for words in shown(page.read_text("utf-8"))}
    assert not {command: why for command, why in found.items() if why}


def test_commands_are_found() -> None:
    text = (
        "Run `dolt_watch why bd-1`.\ndolt_watch runs.\n```console\n$ dolt_watch run  # serve\n```\n"
    )
    assert list(shown(text)) == [["run"], ["why", "bd-1"]]


@pytest.mark.parametrize("words", [["whi"], ["why", "--as-on"], ["--dbug"]])
def test_a_wrong_command_is_found(words: list[str]) -> None:
    assert wrong(words)


def test_all_commands_are_in_the_readme() -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("## Commands")[2]
    assert set(COMMANDS) <= set(re.findall(r"`([a-z]+)(?: BEAD)?`", table.partition("\n## ")[0]))


def test_hold_reasons_in_the_troubleshooting_page_exist() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text("utf-8")
    section = text.partition("## Nothing is dispatched")[2].partition("\n## ")[0]
    gates = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    folders = ("core", "beads", "inspection/why")
    files = [path for each in folders for path in (ROOT / "dolt_watch" / each).rglob("*.py")]
    source = "".join(path.read_text("utf-8") for path in files)
    assert len(gates) > 7
    assert [gate for gate in gates if f'"{gate}"' not in source] == []
