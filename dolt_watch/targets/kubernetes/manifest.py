"""The Job of an attempt, and the tombstone that reserves a name. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dolt_watch.targets.kubernetes import names
from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.protocol import BeadTask

MAX_ENV = 128 * 1024 - 1
"""Bytes of NAME=VALUE that Linux accepts in the environment of a program."""
PROMPT, TOKEN = "DOLT_WATCH_PROMPT", "DOLT_WATCH_TOKEN"
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Requirements of PodSecurity ``restricted`` for a container."""


class JobNotPossible(Exception):
    """No Job can be made for this bead. The text says why."""


def container_text(text: str) -> str:
    """Return a text for a command, an argument or a variable of a container.

    The kubelet expands ``$(NAME)`` there, even in a text that comes from a bead, which would put a
    Secret into the prompt. ``$$`` is a dollar. A NUL can't be passed to a program.
    """
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").replace("$", "$$")


def pod_from_settings(settings: KubernetesSettings) -> dict[str, Any]:
    """Return a Job manifest from ``image``, ``command`` and the other keys."""
    container: dict[str, Any] = {"name": "agent", "image": settings.image}
    if settings.command:
        container["command"] = list(settings.command)
    if settings.env:
        container["env"] = [{"name": name, "value": value} for name, value in settings.env.items()]
    if settings.env_from_secret:
        container["envFrom"] = [{"secretRef": {"name": each}} for each in settings.env_from_secret]
    resources = {"requests": dict(settings.requests), "limits": dict(settings.limits)}
    container["resources"] = {name: value for name, value in resources.items() if value}
    container["securityContext"] = _RESTRICTED
    # The last lines of output of a failed agent become its error text.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    pod = {
        "automountServiceAccountToken": bool(settings.service_account),
        "enableServiceLinks": False,
        "containers": [container],
    }
    if settings.service_account:
        pod["serviceAccountName"] = settings.service_account
    return {"spec": {"template": {"spec": pod}}}


def complete_job(
    manifest: Mapping[str, Any],
    settings: KubernetesSettings,
    task: BeadTask,
    token: str,
    prompt: str,
) -> dict[str, Any]:
    """Return the Job of one attempt. The manifest itself is not changed.

    Name, labels, limits and the agent's variables are always set here.

    Raises:
        JobNotPossible: A variable is larger than a program can get.
    """
    spec = manifest["spec"]
    template = spec["template"]
    labels = _labels(settings, {names.BEAD: task.bead, names.RULE: task.rule})
    annotations = {names.BEAD: task.bead, names.RULE: task.rule, names.TOKEN: token}
    pod = {**template["spec"], "restartPolicy": "Never"}
    agent, *others = pod["containers"]
    pod["containers"] = [_with_variables(agent, task, token, prompt), *others]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **_metadata(manifest.get("metadata"), labels, annotations),
            "name": names.job_name(token),
        },
        "spec": {
            "activeDeadlineSeconds": math.ceil(settings.run_timeout.total_seconds()),
            "ttlSecondsAfterFinished": math.ceil(settings.keep_jobs.total_seconds()),
            **spec,
            # One pod, once. A second one would be a second agent.
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "suspend": False,
            "template": {
                "metadata": _metadata(template.get("metadata"), labels, annotations),
                "spec": pod,
            },
        },
    }


def tombstone(settings: KubernetesSettings, token: str) -> dict[str, Any]:
    """Return a Job that never runs. The token's Job can't get its name any more."""
    labels = _labels(settings, {}) | {names.TOMBSTONE: "true"}
    # A Job needs a pod, and the admission of the namespace must accept it. It is suspended, so it
    # never runs.
    least = {"cpu": "1m", "memory": "1Mi"}
    container = {
        "name": "none",
        "image": "tombstone.invalid/never-runs",
        "securityContext": _RESTRICTED,
        "resources": {"requests": least, "limits": least},
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.job_name(token),
            "labels": labels,
            "annotations": {names.TOKEN: token},
        },
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "activeDeadlineSeconds": 1,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _labels(settings: KubernetesSettings, more: Mapping[str, str]) -> dict[str, str]:
    found = {name: names.label(value) for name, value in more.items() if value}
    return {
        "app.kubernetes.io/managed-by": "dolt-watch",
        names.INSTALLATION: settings.installation,
        **found,
    }


def _metadata(
    given: Any, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> dict[str, Any]:
    given = given or {}
    return {
        "labels": {**(given.get("labels") or {}), **labels},
        "annotations": {**(given.get("annotations") or {}), **annotations},
    }


def _with_variables(
    container: Mapping[str, Any], task: BeadTask, token: str, prompt: str
) -> dict[str, Any]:
    variables = {
        "BEAD_ID": task.bead,
        "BEADS_ACTOR": str(task.row.get("assignee") or ""),
        "DOLT_WATCH_RULE": task.rule,
        TOKEN: token,
        PROMPT: prompt,
    }
    for name, value in variables.items():
        size = len(f"{name}={value}".encode("utf-8", "replace"))
        if size > MAX_ENV:
            raise JobNotPossible(
                f"{name} would have {size} bytes, but a variable of a program has at most {MAX_ENV}"
            )
    own = [{"name": name, "value": container_text(value)} for name, value in variables.items()]
    kept = [each for each in container.get("env") or () if each.get("name") not in variables]
    # First, so that the manifest's own variables can refer to them: $(BEAD_ID).
    return {**container, "env": [*own, *kept]}
