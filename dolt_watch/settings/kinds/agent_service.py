"""Keys of ``kind = "agent-service"``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from dolt_watch.settings.model import TargetSettings, confidential, filled_by


@dataclass(frozen=True, slots=True)
class AgentServiceSettings(TargetSettings):
    """claude-agent-service, asked directly."""

    tells_of_jobs: ClassVar[bool] = True
    announces: ClassVar[bool] = True

    kind: str = "agent-service"
    url: str = filled_by("CLAUDE_AGENT_SERVICE_URL")
    """Where it answers, as http://HOST:PORT. CLAUDE_AGENT_SERVICE_URL fills it in where nothing else sets it."""
    token: str = confidential("API_BEARER_TOKEN")
    """Its bearer token."""
    token_file: Path | None = None
    """A file that holds the token and nothing else. Relative to the settings file."""
    agent: str = "beads-task-runner"
    """Which of its agents runs the bead."""
    max_budget_usd: float = 5.0
    """What one run may cost."""
    run_timeout: timedelta = timedelta(minutes=15)
    """How long one run may take. The service does not kill an agent that takes longer: it stops counting it."""
    prompt_template: Path | None = None
    """A Jinja2 template of the prompt, instead of ours. Relative to the settings file."""
