"""The public interface for authors of targets, in one module.

These names are stable. The modules behind them may change. See ``docs/writing-a-target.md``. The
conformance suite is in ``dolt_watch.testing``.
"""

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.bead_payload import bead_payload
from dolt_watch.targets.http_client import HttpClient, HttpResult, TransportFailure
from dolt_watch.targets.protocol import BeadTask, Target
from dolt_watch.targets.responses import default_answer, error_field, parse_json, valid_job_id
from dolt_watch.targets.settings import TargetSettings, env_field, secret_field
from dolt_watch.targets.templates import Template, TemplateRenderError, read_template
from dolt_watch.targets.validation import check_bearer, check_url, checked_timeout

__all__ = [
    "Accepted",
    "Answer",
    "BeadTask",
    "Busy",
    "Capacity",
    "HttpClient",
    "HttpResult",
    "JobReport",
    "Refused",
    "SettingsError",
    "Target",
    "TargetSettings",
    "Template",
    "TemplateRenderError",
    "TransportFailure",
    "Unknown",
    "Verdict",
    "bead_payload",
    "check_bearer",
    "check_url",
    "checked_timeout",
    "default_answer",
    "env_field",
    "error_field",
    "parse_json",
    "read_template",
    "sanitize",
    "secret_field",
    "valid_job_id",
]
