"""``dolt_watch reap``."""

from __future__ import annotations

from dolt_watch.cli.tick_runner import tick_command

command = tick_command("reap", summary="Block beads whose agents show no activity, once.")
