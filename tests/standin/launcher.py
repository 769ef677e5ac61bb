"""Creates the program ``bd`` in a folder for PATH. The program runs the stand-in."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from tests.standin.dialect import DIALECTS, VARIABLE

PROGRAM = Path(__file__).with_name("bd.py")


def write(folder: Path, dialect: str) -> Path:
    """Write the program and return its path.

    The program uses ``dialect`` unless BD_STANDIN_DIALECT names another dialect.
    """
    assert dialect in DIALECTS, f"no such dialect: {dialect}; one of {', '.join(DIALECTS)}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bd"
    command = f"exec {shlex.quote(sys.executable)} -I {shlex.quote(str(PROGRAM))}"
    path.write_text(
        f'#!/bin/sh\n: "${{{VARIABLE}:={dialect}}}"\nexport {VARIABLE}\n{command} "$@"\n', "utf-8"
    )
    path.chmod(0o755)
    return path


def dialect_of(program: str | Path) -> str:
    """Return the dialect of a program from ``write``, or '' for any other program."""
    with Path(program).open("rb") as file:
        head = file.read(500).decode("utf-8", "replace")
    found = re.search(rf"^: \"\$\{{{VARIABLE}:=(\S+)\}}\"$", head, re.MULTILINE)
    return found[1] if found else ""
