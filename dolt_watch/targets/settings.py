"""The settings of each kind of target: one class a kind, whose fields are its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """Who runs the beads: one ``[targets.NAME]`` table.

    What every kind has; each kind's own class adds its keys (``settings/kinds/``).
    """

    name: str
    """The NAME in ``[targets.NAME]``; rules refer to it."""
    kind: str = "beadboard"
    """How to talk to it."""
    timeout: timedelta = timedelta(seconds=30)
    """Longest wait for one answer; more than 0, at most an hour."""
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Key → where somebody set it, for errors. No key itself."""

    reports_jobs: ClassVar[bool] = False
    """Does it say what became of a job, by ``verdict``?

    Then it is asked while the job runs, once a minute at most.
    """

    deduplicates: ClassVar[bool] = False
    """Does it start each token at most once, and tell whether it runs (``settle``)?"""

    @property
    def stops_runs(self) -> bool:
        """Return whether a run is stopped when its attempt ends."""
        return False

    announces: ClassVar[bool] = False
    """Is the first act of its agents a note on the bead?

    Then silence means that nothing runs: the default of a rule's ``on_unknown`` is 'retry'.
    """

    def located(
        self, tracker: str, beads_dir: Path | None, env: Mapping[str, str]
    ) -> TargetSettings:
        """Return the settings for one tracker. ``tracker``: its ID as a file name.

        ``beads_dir``: the tracker's ``.beads``, if one was found; ``env``: the environment.
        """
        return self

    def origin(self, key: str) -> str:
        return self.origins.get(key, f"[targets.{self.name}] {key}")


def secret_field(variable: str = "") -> Any:
    """A key that no file of settings and no command line may hold.

    It comes from ``DOLT_WATCH_TARGETS_NAME_KEY``, the file that the key ``KEY_file`` names, or
    ``variable``; it is shown hidden, and is in no repr.
    """
    return field(default="", repr=False, metadata={"secret": True, "variable": variable})


def env_field(variable: str) -> Any:
    """A text that an environment variable fills in where nothing of ours sets it.

    Not in repr: a URL may hold a password.
    """
    return field(default="", repr=False, metadata={"variable": variable})


@dataclass(frozen=True, slots=True)
class BeadBoardSettings(TargetSettings):
    """BeadBoard, which asks claude-agent-service for a run."""

    announces: ClassVar[bool] = True

    url: str = env_field("BEADBOARD_URL")
    """Where it answers, as http://HOST:PORT.

    BEADBOARD_URL fills it in where nothing else sets it.
    """
    service_url: str = env_field("CLAUDE_AGENT_SERVICE_URL")
    """claude-agent-service behind it, asked for capacity, health and evidence; '': never asked.

    CLAUDE_AGENT_SERVICE_URL, BeadBoard's own variable, fills it in where nothing else sets it.
    """


@dataclass(frozen=True, slots=True)
class WebhookSettings(TargetSettings):
    """Any receiver of webhooks: a CloudEvent, signed as Standard Webhooks."""

    kind: str = "webhook"
    url: str = field(default="", repr=False)
    """Where it is sent, as it is."""
    secret: str = secret_field()
    """What it is signed with: 'whsec_' and base64 of 24 to 64 random bytes."""
    secret_file: Path | None = None
    """A file that holds the secret and nothing else. Relative to the settings file."""
    previous_secret: str = secret_field()
    """While a secret is replaced: what it is signed with as well, so that either verifies."""
    previous_secret_file: Path | None = None
    """A file that holds the previous secret and nothing else."""
    token: str = secret_field()
    """Sent as ``Authorization:

    Bearer``, for a receiver behind a gateway that asks for one; '': none is sent.
    """
    token_file: Path | None = None
    """A file that holds the token and nothing else."""
    source: str = "dolt-watch"
    """The event's ``source``, a URI reference: tells one tracker from another."""
    job_key: str = "job_id"
    """Where a JSON answer has the receiver's name for the run.

    Without one, the webhook's own id is the job's.
    """
    body_template: Path | None = None
    """A Jinja2 template of the body, instead of the CloudEvent. Relative to the settings file."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers, name → Jinja2 template of the value."""


@dataclass(frozen=True, slots=True)
class AgentServiceSettings(TargetSettings):
    """claude-agent-service, asked directly."""

    reports_jobs: ClassVar[bool] = True
    announces: ClassVar[bool] = True

    kind: str = "agent-service"
    url: str = env_field("CLAUDE_AGENT_SERVICE_URL")
    """Where it answers, as http://HOST:PORT.

    CLAUDE_AGENT_SERVICE_URL fills it in where nothing else sets it.
    """
    token: str = secret_field("API_BEARER_TOKEN")
    """Its bearer token."""
    token_file: Path | None = None
    """A file that holds the token and nothing else. Relative to the settings file."""
    agent: str = "beads-task-runner"
    """Which of its agents runs the bead."""
    max_budget_usd: float = 5.0
    """What one run may cost."""
    run_timeout: timedelta = timedelta(minutes=15)
    """How long one run may take.

    The service does not kill an agent that takes longer: it stops counting it.
    """
    prompt_template: Path | None = None
    """A Jinja2 template of the prompt, instead of ours. Relative to the settings file."""


@dataclass(frozen=True, slots=True)
class CommandSettings(TargetSettings):
    """A local program."""

    kind: str = "command"
    argv: tuple[str, ...] = ()
    """The program and its arguments, as they are: no shell reads them.

    A name without '/' is looked for on PATH.
    """
    env: tuple[str, ...] = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
    """Names of the environment variables that it gets, besides BEAD_ID and IDEMPOTENCY_KEY."""
