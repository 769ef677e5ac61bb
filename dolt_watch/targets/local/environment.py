"""The agent's environment: an allow-list, and the names that dolt_watch sets.

An agent runs commands that a model chose. So it gets no variable by accident: not the database
password, no token of dolt_watch, and no credential of the shell that started it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from fnmatch import fnmatchcase
from pathlib import Path
from zoneinfo import ZoneInfo

from dolt_watch.targets.local.processes import TOKEN_VARIABLE

ALLOWED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMPDIR",
    "XDG_*",
)
"""Names that are passed on if they are set. SSH_AUTH_SOCK is not in the list, since it lends the
user's keys.
"""
OWN = ("BEAD_ID", "BEADS_ACTOR", "BEADS_DIR", TOKEN_VARIABLE, "TERM")
"""Names that dolt_watch sets."""
FORBIDDEN = ("DOLT_WATCH_*",)
"""Names that ``env`` may not contain: settings and secrets of dolt_watch itself."""


def problem_in(entries: Sequence[str]) -> str:
    """Return why an entry of ``env`` can't be passed on: ``NAME`` or ``NAME=VALUE``. '' if none."""
    for entry in entries:
        name = entry.partition("=")[0]
        if not name or "\0" in name:
            return f"{name!r} isn't the name of an environment variable"
        if "\0" in entry:  # The value may be a secret.
            return f"the value of {name} contains a NUL character"
        if name in OWN:
            return f"{name} is set by dolt_watch"
        if any(fnmatchcase(name, pattern) for pattern in FORBIDDEN):
            return f"{name} is a setting of dolt_watch, and agents must not get it"
    return ""


def build(
    entries: Sequence[str],
    environ: Mapping[str, str],
    *,
    bead: str,
    actor: str,
    token: str,
    beads_dir: Path | None,
) -> dict[str, str]:
    """Return the agent's whole environment.

    Args:
        entries: ``env`` of the settings.
        environ: Where names are looked up.
        bead: The bead's id.
        actor: The bead's assignee. Since bd 1.3, only the assignee can close a bead.
        token: The attempt's token.
        beads_dir: The tracker's ``.beads``, since a new worktree contains an empty copy.
    """
    passed = {
        name: value
        for name, value in environ.items()
        if any(fnmatchcase(name, pattern) for pattern in ALLOWED)
    }
    for entry in entries:
        name, given, value = entry.partition("=")
        if given or name in environ:
            passed[name] = value if given else environ[name]
    passed |= {"TERM": "dumb", "BEAD_ID": bead, TOKEN_VARIABLE: token}
    if actor:
        passed["BEADS_ACTOR"] = actor
    if beads_dir is not None:
        passed["BEADS_DIR"] = str(beads_dir)
    return passed


def zone_of(entries: Sequence[str], environ: Mapping[str, str]) -> tzinfo:
    """Return the time zone in which the agent prints times: its TZ, else the machine's zone."""
    given = [entry.removeprefix("TZ=") for entry in entries if entry.startswith("TZ=")]
    name = given[-1] if given else environ.get("TZ", "")
    with suppress(OSError, ValueError, KeyError):  # No such zone, or no database of zones.
        if name:
            return ZoneInfo(name.removeprefix(":"))
    return datetime.now().astimezone().tzinfo or UTC
