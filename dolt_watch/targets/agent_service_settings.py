"""The settings of the kind of target ``agent-service``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from dolt_watch.targets.settings import TargetSettings, env_field, secret_field


@dataclass(frozen=True, slots=True)
class AgentServiceSettings(TargetSettings):
    """claude-agent-service, asked directly."""

    reports_jobs: ClassVar[bool] = True
    announces: ClassVar[bool] = True

    kind: str = "agent-service"
    url: str = env_field("CLAUDE_AGENT_SERVICE_URL")
    """URL of the service: http://HOST:PORT. Required. Default: CLAUDE_AGENT_SERVICE_URL."""
    token: str = secret_field("API_BEARER_TOKEN")
    """Bearer token of the service. Required. Default: API_BEARER_TOKEN."""
    token_file: Path | None = None
    """File that contains the token and nothing else. Relative to the settings file."""
    agent: str = "beads-task-runner"
    """Name of the service's agent that runs the bead. Default: the agent that BeadBoard uses."""
    max_budget_usd: float = 5.0
    """Budget of one run in USD. Default: 5, as BeadBoard's."""
    run_timeout: timedelta = timedelta(minutes=15)
    """Time limit of one run. The service doesn't end an agent that takes longer: it stops counting
    it. Default: 15m, as BeadBoard's.
    """
    prompt_template: Path | None = None
    """Jinja2 template of the prompt, instead of the built-in prompt. Relative to the settings
    file.
    """
