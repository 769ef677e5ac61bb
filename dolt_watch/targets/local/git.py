"""The git commands that worktrees need."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path


class GitFailed(Exception):
    """A git command failed.

    The text is git's reason, or the reason why it could not run.
    """


def git(folder: Path, *arguments: str, timeout: float = 30.0) -> str:
    """Run git in a folder and return its output. Raises GitFailed.

    The environment's GIT_* variables are left out, because in a hook they name another repository.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environ |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            ["git", "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ,
            start_new_session=True,  # So that its hooks can be ended with it.
        )
    except (OSError, ValueError) as error:
        raise GitFailed(f"git can't be run: {error}") from None
    with process:
        try:
            out, errors = process.communicate(timeout=timeout)
        except BaseException as error:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise GitFailed(f"git {arguments[0]} didn't end within {timeout:g} s") from None
    if process.returncode != 0:
        lines = _reason(errors.decode("utf-8", "replace"))
        raise GitFailed(lines or f"git {arguments[0]} ended with {process.returncode}")
    return out.decode("utf-8", "surrogateescape").rstrip("\n")


def _reason(errors: str) -> str:
    """Return git's reason: its line ``fatal:`` or ``error:``, else the last line.

    Hints may follow it. The last of them is the command that helps, if it is one.
    """
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    if not lines:
        return ""
    marked = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    reason = (marked or lines)[-1].removeprefix("fatal: ").removeprefix("error: ")
    return f"{reason}; run `{lines[-1]}`" if marked and lines[-1].startswith("git ") else reason
