"""Keys of ``kind = "beadboard"``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dolt_watch.settings.model import TargetSettings, filled_by


@dataclass(frozen=True, slots=True)
class BeadBoardSettings(TargetSettings):
    """BeadBoard, which asks claude-agent-service for a run."""

    announces: ClassVar[bool] = True

    url: str = filled_by("BEADBOARD_URL")
    """Where it answers, as http://HOST:PORT. BEADBOARD_URL fills it in where nothing else sets it."""
    service_url: str = filled_by("CLAUDE_AGENT_SERVICE_URL")
    """claude-agent-service behind it, asked for capacity, health and evidence; '': never asked. CLAUDE_AGENT_SERVICE_URL, BeadBoard's own variable, fills it
    in where nothing else sets it."""
