"""The shell that runs the pages: matches, and differences that it must report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.shell import Shell, Step, check, missing, steps_of

PAGE = """
```console
$ cat <<'X'
> one
>
> two
> X
one

two
$ export A=b
```
<!-- board: busy -->
```sh exit=3
exit_with() { return 3; }
exit_with
```
```toml
$ no command
```
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path, dict(os.environ), {"here": "there"})
    yield shell
    shell.close()


def test_commands_of_a_page(shell: Shell) -> None:
    found = list(steps_of(PAGE))
    assert [step.shown for step in found] == [["one", "", "two"], [], []]
    assert [step.line for step in found] == [3, 11, 15]
    assert [step.board for step in found] == ["", "", "busy"]
    for step in found:
        check(step, *shell.run(step.command), "page")
    assert shell.run("echo $A here") == (0, "b there\n")


def test_another_exit_code_fails(shell: Shell) -> None:
    with pytest.raises(AssertionError, match="exit 1, not 0"):
        check(Step("false", [], 1), *shell.run("false"), "page")


def test_what_was_not_printed_fails() -> None:
    with pytest.raises(AssertionError, match="not printed:\n  two"):
        check(Step("", ["one", "two"], 1), 0, "one\nthree", "page")


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("dispatched bd-a1b as job 0123456789ab", "dispatched bd-zz9 as job ffff00001111"),
        ("2026-04-18T22:35:46Z  bd-1a2", "2027-01-01T00:00:00Z bd-999"),
        ("BEAD    PHASE", "BEAD  PHASE"),
        ("target: …, 1 free", "target: beadboard, 1 free"),
    ],
)
def test_what_differs_from_run_to_run(shown: str, printed: str) -> None:
    assert missing([shown], printed) == ""


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("bd-a1b waiting", "bd-a1b running"),
        ("two one", "one two"),
        ("dispatched bd-a1b", "dispatched bd-a1b as job x"),
    ],
)
def test_what_must_not_differ(shown: str, printed: str) -> None:
    assert missing([shown], printed) == shown


def test_in_order() -> None:
    assert missing(["b", "a"], "a\nb") == "a"
