"""``dolt_watch run``, where it must not even begin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dolt_watch.engines.address import DoltLitePath
from tests.unit.commands import Commands, commands


@pytest.fixture
def cli(doltlite_path: DoltLitePath) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('[rules.agent]\ntarget = "hook"\n[targets.hook]\nkind = "webhook"', "url"),
        ('[notify]\ntarget = "hook"\n[targets.hook]\nkind = "webhook"\nurl = "https://ops.example/"', "no secret"),
    ],
)
def test_a_target_that_cannot_be_used(cli: Commands, settings: str, words: str) -> None:
    (cli.folder / "dolt_watch.toml").write_text(settings)
    done = cli.run("run")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr and "  fix:   " in done.stderr
