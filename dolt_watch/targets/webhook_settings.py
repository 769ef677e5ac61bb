"""The settings of the kind of target ``webhook``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dolt_watch.targets.settings import TargetSettings, secret_field


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
