"""``dolt_watch tick``."""

from __future__ import annotations

from dolt_watch.cli.tick_runner import tick_command

command = tick_command("dispatch", "reap", summary="Dispatch and reap, once.")
