"""Keys of ``kind = "command"``."""

from __future__ import annotations

from dataclasses import dataclass

from dolt_watch.settings.model import TargetSettings


@dataclass(frozen=True, slots=True)
class CommandSettings(TargetSettings):
    """A local program."""

    kind: str = "command"
    argv: tuple[str, ...] = ()
    """The program and its arguments, as they are: no shell reads them. A name without '/' is looked for on PATH."""
    env: tuple[str, ...] = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
    """Names of the environment variables that it gets, besides BEAD_ID and IDEMPOTENCY_KEY."""
