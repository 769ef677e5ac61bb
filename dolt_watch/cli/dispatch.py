"""``dolt_watch dispatch``."""

from __future__ import annotations

from dolt_watch.cli.tick_runner import tick_command

command = tick_command("dispatch", summary="Send waiting beads to their targets, once.")
