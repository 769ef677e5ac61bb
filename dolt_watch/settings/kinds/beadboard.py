"""Keys of ``kind = "beadboard"``."""

from __future__ import annotations

from dataclasses import dataclass, field

from dolt_watch.settings.model import TargetSettings, filled_by


@dataclass(frozen=True, slots=True)
class BeadBoardSettings(TargetSettings):
    """BeadBoard, which asks claude-agent-service for a run."""

    url: str = filled_by("BEADBOARD_URL")
    """Where it answers, as http://HOST:PORT. BEADBOARD_URL fills it in where nothing else sets it."""
    service_url: str = field(default="", repr=False)
    """claude-agent-service behind it, asked for capacity and evidence; '': never asked."""
