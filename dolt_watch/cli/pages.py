"""Where a page goes: a file, whole or not at all; a pipe or a device; standard output.

``click.File(atomic=True)`` does not serve (click 8.5.1): it also replaces the file if writing
failed halfway, and it replaces a device or a pipe with a regular file.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

import click


def check_page(output: str) -> None:
    """Raises FileError where no page can go there: what reads all of history says so before, and
    not after.
    """
    if output == "-":
        return
    folder = Path(output).resolve().parent
    wrong = (
        errno.EISDIR
        if Path(output).is_dir()
        else errno.ENOENT
        if not folder.is_dir()
        else errno.EACCES
        if not os.access(folder, os.W_OK)
        else 0
    )
    if wrong:
        raise click.FileError(output, os.strerror(wrong))


def write_page(output: str, page: str) -> None:
    """The page, whole or not at all; - is standard output. Raises FileError."""
    check_page(output)
    if output == "-":
        click.echo(page.encode(), nl=False)
        return
    try:
        _write(Path(output), page)
    except OSError as error:
        raise click.FileError(output, error.strerror or str(error)) from error


def _write(path: Path, page: str) -> None:
    """Whole or not at all, where it is a file or is to become one; a pipe or a device is written
    to. Raises OSError.
    """
    real = path.resolve()  # a link stays one
    try:
        mode = real.stat().st_mode
    except FileNotFoundError:
        mode = 0
    if mode and not stat.S_ISREG(mode):
        with real.open("w", encoding="utf-8") as there:
            there.write(page)
        return
    beside = real.with_name(f".dolt_watch-{secrets.token_hex(6)}")
    try:
        with beside.open("x", encoding="utf-8") as new:
            if mode:
                os.fchmod(new.fileno(), stat.S_IMODE(mode))
            new.write(page)
        beside.replace(real)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
