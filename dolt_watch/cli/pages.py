"""Write a file of output: a regular file atomically, a pipe or device directly, or stdout.

``click.File(atomic=True)`` isn't used (click 8.5.1): it replaces the file even if writing failed
halfway, and it replaces a device or a pipe with a regular file.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

import click

from dolt_watch.errors import SettingsError


def check_page(output: str) -> None:
    """Check that a file can be written, before a command reads all of history for it.

    Raises:
        SettingsError: The file can't be written.
    """
    if output == "-" or _is_stream(Path(output)):
        return
    if not output:
        raise SettingsError("The file name is empty.", fix="Specify a file name, or - for stdout.")
    try:
        folder = Path(output).resolve().parent
        for wrong, number in (
            (Path(output).is_dir(), errno.EISDIR),
            (not folder.is_dir(), errno.ENOENT),
            (not os.access(folder, os.W_OK), errno.EACCES),
        ):
            if wrong:
                raise OSError(number, "")
    except OSError as error:  # Also a current folder that was deleted, and a name that is too long.
        raise _cannot_write(output, os.strerror(error.errno or 0)) from None
    except RuntimeError:  # A loop of links, before Python 3.13.
        raise _cannot_write(output, os.strerror(errno.ELOOP)) from None


def write_page(output: str, page: str) -> None:
    """Write a text to a file, atomically; "-" is stdout.

    Raises:
        SettingsError: The file can't be written.
    """
    check_page(output)
    if output == "-":
        click.echo(page.encode(), nl=False)
        return
    try:
        _write(Path(output), page)
    except OSError as error:
        raise _cannot_write(output, error.strerror or str(error)) from error


def _is_stream(path: Path) -> bool:
    """Return whether a path is a pipe or a device, also by a link such as /dev/stdout.

    The name of such a link's target isn't the path of a file.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _cannot_write(output: str, why: str) -> SettingsError:
    return SettingsError(
        f"Can't write {output}: {why}.",
        where=output,
        fix="Specify a file in a folder that you can write to, or - for stdout.",
    )


def _write(path: Path, page: str) -> None:
    if _is_stream(path):
        with path.open("w", encoding="utf-8") as device:
            device.write(page)
        return
    real = path.resolve()  # A symbolic link stays one.
    try:
        mode = real.stat().st_mode
    except FileNotFoundError:
        mode = 0
    # Readers see the old file or the new one, never a part.
    temporary = real.with_name(f".dolt_watch-{secrets.token_hex(6)}")
    try:
        with temporary.open("x", encoding="utf-8") as new:
            if mode:
                os.fchmod(new.fileno(), stat.S_IMODE(mode))
            new.write(page)
        temporary.replace(real)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
