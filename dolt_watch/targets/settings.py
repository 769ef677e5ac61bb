"""The settings of each kind of target: one class for each kind, whose fields are its keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from dolt_watch.errors import SettingsError


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """The target of a rule: one ``[targets.NAME]`` table.

    These keys exist for every kind. The class of each kind adds its own keys.
    """

    name: str
    """The NAME in ``[targets.NAME]``. Rules refer to it."""
    kind: str = "beadboard"
    """The kind of target, for example 'local', 'webhook' or 'kubernetes'."""
    timeout: timedelta = timedelta(seconds=30)
    """Longest wait for one answer, more than 0 and at most an hour. Default 30s: the deadline of a
    claim is that much later.
    """
    origins: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Key → the place where it is set, for error messages. Not a key itself."""

    reports_jobs: ClassVar[bool] = False
    """Whether ``verdict`` reports how a job ended.

    Such a target is asked while the job runs, at most once a minute.
    """

    deduplicates: ClassVar[bool] = False
    """Whether the target starts each token at most once, and reports whether it runs
    (``settle``).
    """

    @property
    def stops_runs(self) -> bool:
        """Return whether a run is stopped when its attempt ends."""
        return False

    announces: ClassVar[bool] = False
    """Whether the first act of the target's agents is a note on the bead.

    Their silence then means that nothing runs, so the default of a rule's ``on_unknown`` is
    'retry'.
    """

    def located(
        self, tracker: str, beads_dir: Path | None, env: Mapping[str, str]
    ) -> TargetSettings:
        """Return the settings for one tracker.

        Args:
            tracker: The tracker's ID as a file name.
            beads_dir: The tracker's ``.beads``, if it was found.
            env: The environment.
        """
        return self

    def origin(self, key: str) -> str:
        return self.origins.get(key, f"[targets.{self.name}] {key}")


def invalid(settings: TargetSettings, key: str, problem: str, fix: str) -> SettingsError:
    """Return the error for a value that can't work. ``problem`` is a clause with its subject."""
    return SettingsError(f"Target {settings.name}: {problem}.", where=settings.origin(key), fix=fix)


def missing(settings: TargetSettings, key: str, thing: str, fix: str) -> SettingsError:
    """Return the error for a value that is required."""
    return SettingsError(
        f"Target {settings.name} has no {thing}.", where=settings.origin(key), fix=fix
    )


def secret_field(variable: str = "") -> Any:
    """Return the field of a key that no settings file and no command line may contain.

    Its value comes from ``DOLT_WATCH_TARGETS_NAME_KEY``, from the file that the key ``KEY_file``
    names, or from ``variable``. It is hidden in output, and no repr contains it.
    """
    return field(default="", repr=False, metadata={"secret": True, "variable": variable})


def env_field(variable: str) -> Any:
    """Return the field of a text whose default is an environment variable.

    No repr contains it, because a URL may contain a password.
    """
    return field(default="", repr=False, metadata={"variable": variable})


@dataclass(frozen=True, slots=True)
class BeadBoardSettings(TargetSettings):
    """BeadBoard, which requests a run from claude-agent-service."""

    announces: ClassVar[bool] = True

    url: str = env_field("BEADBOARD_URL")
    """URL of BeadBoard: http://HOST:PORT. Required. Default: BEADBOARD_URL."""
    service_url: str = env_field("CLAUDE_AGENT_SERVICE_URL")
    """URL of the claude-agent-service behind BeadBoard, asked for its capacity and its health.
    Default: CLAUDE_AGENT_SERVICE_URL, which BeadBoard uses itself. '': never asked, so an outage
    can cost a bead.
    """


@dataclass(frozen=True, slots=True)
class WebhookSettings(TargetSettings):
    """A receiver of webhooks: a CloudEvent, signed as Standard Webhooks."""

    kind: str = "webhook"
    url: str = field(default="", repr=False)
    """URL of the receiver. dolt_watch sends requests to this exact URL, including its query string.
    Required.
    """
    secret: str = secret_field()
    """Secret for the signature: 'whsec_' and 24 to 64 random bytes in base64. Required."""
    secret_file: Path | None = None
    """File that contains the secret and nothing else. Relative to the settings file."""
    previous_secret: str = secret_field()
    """Second secret for the signature while you replace a secret. A receiver can verify with
    either.
    """
    previous_secret_file: Path | None = None
    """File that contains the previous secret and nothing else."""
    token: str = secret_field()
    """Sent as ``Authorization: Bearer``, for a receiver behind a gateway. '', the default: not
    sent.
    """
    token_file: Path | None = None
    """File that contains the token and nothing else."""
    source: str = "dolt-watch"
    """``source`` of the event, a URI reference. Use different ones for different trackers. Default:
    'dolt-watch'.
    """
    job_key: str = "job_id"
    """Key in a JSON answer that contains the receiver's ID of the run. Without it, the webhook's
    own id is the job's id.
    """
    body_template: Path | None = None
    """Jinja2 template of the body, instead of the CloudEvent. Relative to the settings file."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further headers: name → Jinja2 template of the value."""


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
