"""Record ``dolt_watch demo`` as docs/images/demo.svg: ``python -m tools.docs.picture``.

The picture uses the fonts of the reader's system and loads nothing.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs/images/demo.svg"
COLUMNS = 100
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


def record(
    command: Sequence[str],
    columns: int = COLUMNS,
    lines: int = 60,
    folder: Path | None = None,
    exits: Sequence[int] = (0,),
    **variables: str,
) -> str:
    """Return what a command prints on a terminal, with its colors.

    Args:
        command: The program and its arguments.
        columns: Width of the terminal.
        lines: Height of the terminal.
        folder: Folder in which the command runs.
        exits: Expected exit codes.
        variables: Further variables of the environment.

    Raises:
        CalledProcessError: The command has another exit code.
    """
    ours, its = pty.openpty()
    size = {"COLUMNS": str(columns), "LINES": str(lines), "TERM": "xterm-256color"}
    env = {**os.environ, **size, **variables}
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=env, cwd=folder)
    os.close(its)
    printed = bytearray()
    while True:
        try:
            more = os.read(ours, 65_536)
        except OSError:  # Linux reports the end of a terminal as an error.
            break
        if not more:
            break
        printed += more
    os.close(ours)
    if (code := process.wait()) not in exits:
        raise subprocess.CalledProcessError(code, command, bytes(printed))
    return printed.decode("utf-8").replace("\r\n", "\n")


def draw(text: str, title: str, name: str, columns: int = COLUMNS) -> str:
    """Return the text as an SVG picture of a terminal. ``name`` must be unique in a page."""
    console = Console(record=True, width=columns, file=io.StringIO())
    console.print(Text.from_ansi(text.rstrip()), soft_wrap=False)
    picture = console.export_svg(title=title, theme=SVG_EXPORT_THEME, unique_id=name)
    # rich names a font on another host. A picture in a page may not load it.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    return re.sub(r"Fira Code, monospace|arial", FONTS, picture)


def main() -> None:
    text = record([sys.executable, "-m", "dolt_watch", "demo"])
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(draw(f"$ dolt_watch demo\n{text}", "dolt_watch", "demo"), "utf-8")
    sys.stdout.write(f"written: {PICTURE.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
