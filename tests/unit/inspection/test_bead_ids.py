"""Bead IDs as users type them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dolt_watch.engines.address import FileAddress
from dolt_watch.errors import SettingsError
from dolt_watch.inspection.bead_ids import require_bead, resolve_bead_id
from tests.support.commands import Commands, commands

pytestmark = pytest.mark.long


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        for bead in ("bd-a3f", "bd-a3f.1", "bd-b77", "bd-b7", "my-app-x9"):
            made.here.assign(bead)
        yield made


@pytest.mark.parametrize(
    ("text", "bead"),
    [
        ("bd-a3f", "bd-a3f"),
        (" bd-a3f ", "bd-a3f"),
        ("a3f", "bd-a3f"),
        ("a3f.1", "bd-a3f.1"),
        ("f.1", "bd-a3f.1"),
        ("b7", "bd-b7"),
        ("b77", "bd-b77"),
        ("bd-b7", "bd-b7"),
        ("x9", "my-app-x9"),
        ("app-x9", "my-app-x9"),
        ("bd-a3f.", "bd-a3f.1"),
        ("nope", "nope"),
        ("bd", "bd"),
    ],
)
def test_the_bead_that_a_text_names(cli: Commands, text: str, bead: str) -> None:
    assert resolve_bead_id(cli.here.engine, text) == bead


def test_a_part_of_several(cli: Commands) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve_bead_id(cli.here.engine, "3f")
    assert caught.value.message == "'3f' is a part of 2 bead IDs: bd-a3f, bd-a3f.1."


def test_an_empty_text(cli: Commands) -> None:
    with pytest.raises(SettingsError, match=r"The bead ID is empty\."):
        resolve_bead_id(cli.here.engine, " ")


def test_a_deleted_bead_is_not_taken_for_a_part_of_another(cli: Commands) -> None:
    """bd-b7 is a part of bd-b77, but history contains a bead with this exact ID."""
    with cli.here.engine.transaction() as tx:
        tx.execute("DELETE FROM issues WHERE id = 'bd-b7'")
        tx.dolt_commit(["issues"], "bd: delete bd-b7", "ada <ada@example.com>")
    assert require_bead(cli.here.engine, "bd-b7") == "bd-b7"
    assert resolve_bead_id(cli.here.engine, "bd-b77") == "bd-b77"


def test_an_unknown_bead(cli: Commands) -> None:
    with pytest.raises(SettingsError) as caught:
        require_bead(cli.here.engine, "bd-a3g", "--bead")
    assert (caught.value.where, caught.value.exit_code) == ("--bead", 2)
    assert "Did you mean bd-a3f" in (caught.value.fix or "")


@pytest.mark.parametrize(
    "words",
    [
        ("why", "a3f"),
        ("log", "--bead", "a3f"),
        ("events", "--bead", "a3f"),
        ("retry", "a3f", "--not-running"),
        ("release", "a3f"),
        ("logs", "a3f"),
        ("report", "-o", "-", "--bead", "a3f"),
    ],
    ids=" ".join,
)
def test_every_command_takes_a_short_id(cli: Commands, words: tuple[str, ...]) -> None:
    cli.here.tick()
    done = cli.run(*words)
    assert "There is no bead" not in done.stderr and "there is no bead" not in done.stderr
    # BeadBoard stores no output.
    assert "bd-a3f" in done.stdout or words[0] == "logs"
