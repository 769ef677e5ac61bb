"""The settings of the kind of target ``command``."""

from __future__ import annotations

from dataclasses import dataclass

from dolt_watch.targets.settings import TargetSettings


@dataclass(frozen=True, slots=True)
class CommandSettings(TargetSettings):
    """A local program that hands the bead over."""

    kind: str = "command"
    argv: tuple[str, ...] = ()
    """The program and its arguments. No shell reads them. A name without '/' is searched for on
    PATH. Required.
    """
    env: tuple[str, ...] = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
    """Names of the environment variables that the program gets, in addition to BEAD_ID and
    IDEMPOTENCY_KEY. The default contains no secrets.
    """
