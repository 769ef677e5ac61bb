"""Keys of ``kind = "webhook"``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dolt_watch.settings.model import TargetSettings, confidential


@dataclass(frozen=True, slots=True)
class WebhookSettings(TargetSettings):
    """Any receiver of webhooks: a CloudEvent, signed as Standard Webhooks."""

    kind: str = "webhook"
    url: str = field(default="", repr=False)
    """Where it is sent, as it is."""
    secret: str = confidential()
    """What it is signed with: 'whsec_' and base64 of 24 to 64 random bytes."""
    secret_file: Path | None = None
    """A file that holds the secret and nothing else. Relative to the settings file."""
    previous_secret: str = confidential()
    """While a secret is replaced: what it is signed with as well, so that either verifies."""
    previous_secret_file: Path | None = None
    """A file that holds the previous secret and nothing else."""
    token: str = confidential()
    """Sent as ``Authorization: Bearer``, for a receiver behind a gateway that asks for one; '': none is sent."""
    token_file: Path | None = None
    """A file that holds the token and nothing else."""
    source: str = "dolt-watch"
    """The event's ``source``, a URI reference: tells one tracker from another."""
    job_key: str = "job_id"
    """Where a JSON answer has the receiver's name for the run. Without one, the webhook's own id is the job's."""
    body_template: Path | None = None
    """A Jinja2 template of the body, instead of the CloudEvent. Relative to the settings file."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """More headers, name → Jinja2 template of the value."""
