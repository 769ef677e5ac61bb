"""Checks of the settings, before any request to a cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from dolt_watch.errors import SettingsError
from dolt_watch.targets.kubernetes import names
from dolt_watch.targets.kubernetes.job_template import read_job_template
from dolt_watch.targets.kubernetes.manifest import pod_from_settings
from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.settings import invalid
from dolt_watch.targets.templates import Template, read_prompt
from dolt_watch.targets.validation import check_url, checked_timeout

Manifest = Callable[[BeadTask, str], Mapping[str, Any]]
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?([eE][0-9]+|[numk]|[KMGTPE]i|[MGTPE])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_PER_IMAGE = ("command", "env", "env_from_secret", "requests", "limits", "service_account")
_LONGEST = timedelta(days=366)


def check_settings(settings: KubernetesSettings) -> float:
    """Return the time-out of one answer in seconds. Raises SettingsError."""
    _check_connection(settings)
    _check_pod(settings)
    _check_limits(settings)
    return checked_timeout(settings)


def load_templates(settings: KubernetesSettings) -> tuple[Manifest, Template]:
    """Return the function that makes a bead's manifest, and the prompt. Raises SettingsError."""
    prompt = read_prompt(settings.prompt_template, settings.origin("prompt_template"))
    if settings.job_template is not None:
        template = read_job_template(settings.job_template, settings.origin("job_template"))
        return template.render, prompt
    manifest = pod_from_settings(settings)
    return lambda task, token: manifest, prompt


def _check_connection(settings: KubernetesSettings) -> None:
    # A token must not leave this machine in plain text.
    if settings.server:
        fix = f'Set [targets.{settings.name}] server = "https://HOST:6443".'
        check_url(settings, "server", settings.server, fix=fix)
        parts = urlsplit(settings.server)
        if "@" in parts.netloc:
            raise _wrong(settings, "server", "must not contain a user or a password", fix)
        if parts.scheme == "http" and settings.token_file is not None:
            fix = "http:// is for `kubectl proxy` on this machine, without token_file."
            fix = f"Use https://. {fix}"
            raise _wrong(settings, "server", "must be https:// if a token is sent", fix)
    if settings.namespace and not names.is_job_name(settings.namespace):
        problem = f"must be the name of a namespace, but is {settings.namespace!r}"
        raise _wrong(settings, "namespace", problem, 'Set namespace = "agents", for example.')
    if not names.is_label(settings.installation):
        problem = f"must be a label value, but is {settings.installation!r}"
        fix = "Use at most 63 letters, digits, '-', '_' and '.'."
        raise _wrong(settings, "installation", problem, fix)


def _check_pod(settings: KubernetesSettings) -> None:
    # A template and the settings of a pod would contradict each other silently.
    if settings.job_template is not None:
        for key in ("image", *_PER_IMAGE):
            if getattr(settings, key):
                fix = f"Write it into {settings.job_template}, or remove job_template."
                raise _wrong(settings, key, "can't be combined with job_template", fix)
        return
    image, account = settings.image, settings.service_account
    if not image:
        fix = 'Set image = "registry.example/agent:1.0", or job_template = "job.yaml".'
        raise _wrong(settings, "image", "or job_template is required", fix)
    if not image.isprintable() or any(character.isspace() for character in image):
        problem = "contains a character that the name of an image can't have"
        raise _wrong(settings, "image", problem, "Remove it.")
    # The API server would refuse these only after a bead is claimed.
    for key, texts in (("command", settings.command), ("env", settings.env.values())):
        if any("\x00" in text for text in texts):
            raise _wrong(settings, key, "contains a NUL character", "Remove it.")
    if not all(map(_VARIABLE.fullmatch, settings.env)):
        problem = "contains a name that a variable can't have"
        raise _wrong(settings, "env", problem, 'Set env = {NAME = "value"}.')
    if not all(map(_NAME.fullmatch, settings.env_from_secret)):
        problem = "contains a name that a Secret can't have"
        fix = 'Write the name of a Secret in the namespace: env_from_secret = ["agent"]'
        raise _wrong(settings, "env_from_secret", problem, fix)
    if account and not _NAME.fullmatch(account):
        problem = f"must be the name of a ServiceAccount, but is {account!r}"
        fix = "Write the name of a ServiceAccount in the namespace."
        raise _wrong(settings, "service_account", problem, fix)
    for key in ("requests", "limits"):
        if not all(map(_QUANTITY.fullmatch, getattr(settings, key).values())):
            fix = f'Set {key} = {{cpu = "500m", memory = "1Gi"}}, for example.'
            raise _wrong(settings, key, "contains a value that isn't a quantity", fix)


def _check_limits(settings: KubernetesSettings) -> None:
    if settings.max_jobs < 1:
        problem = f"must be at least 1, but is {settings.max_jobs}"
        raise _wrong(settings, "max_jobs", problem, "Set max_jobs = 10, for example.")
    for key, least, shown in (
        ("run_timeout", timedelta(seconds=1), "1s"),
        ("start_timeout", timedelta(seconds=1), "1s"),
        ("keep_jobs", timedelta(hours=1), "1h"),
    ):
        value = getattr(settings, key)
        if not least <= value <= _LONGEST:
            problem = f"must be at least {shown} and at most 366 days, but is {value}"
            raise _wrong(settings, key, problem, f'Set {key} = "{shown}" or more.')


def _wrong(settings: KubernetesSettings, key: str, problem: str, fix: str) -> SettingsError:
    return invalid(settings, key, f"{key} {problem}", fix)
