"""Writes the stand-in as a program ``bd`` into a folder that is put on PATH."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from tests.standin.dialect import DIALECTS, VARIABLE

PROGRAM = Path(__file__).with_name("bd.py")


def write(folder: Path, dialect: str) -> Path:
    """The program's path. It runs in ``dialect`` unless BD_STANDIN_DIALECT names another."""
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
    """The dialect of a program that ``write`` wrote; '' for any other program."""
    with Path(program).open("rb") as file:
        head = file.read(500).decode("utf-8", "replace")
    found = re.search(rf"^: \"\$\{{{VARIABLE}:=(\S+)\}}\"$", head, re.MULTILINE)
    return found[1] if found else ""
