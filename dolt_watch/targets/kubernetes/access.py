"""The checks of `dolt_watch doctor`: rights, and whether the API server would accept a Job."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from dolt_watch.core.model.target_answers import Accepted
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.kubernetes import answers, names
from dolt_watch.targets.kubernetes.api import ApiClient, describe
from dolt_watch.targets.kubernetes.manifest import JobNotPossible
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.responses import parse_json
from dolt_watch.targets.templates import TemplateRenderError

MakeJob = Callable[[BeadTask, str], Mapping[str, object]]
"""Makes the Job of a bead and a token. Raises the errors of templates and manifests."""
RIGHTS = (
    ("create", "batch", "jobs", ""),
    ("get", "batch", "jobs", ""),
    ("list", "batch", "jobs", ""),
    ("delete", "batch", "jobs", ""),
    ("list", "", "pods", ""),
    ("list", "", "events", ""),
    ("get", "", "pods", "log"),
)
"""Verb, API group, resource, subresource: as cronjobs/components/agents/role.yaml gives them."""
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_FIX_RIGHTS = "Add the component cronjobs/components/agents, or a Role with these verbs."
_WARNING = re.compile(r'\b\d{3} \S+ "((?:[^"\\]|\\.)*)"')
_SAMPLE = {
    "title": "check",
    "description": "",
    "design": "",
    "acceptance_criteria": "",
    "notes": "",
    "status": "open",
    "priority": 2,
    "issue_type": "task",
    "assignee": "agent",
}


class Problem(NamedTuple):
    """A problem and its fix."""

    message: str
    fix: str


def find_problems(api: ApiClient, make_job: MakeJob, timeout: float) -> Iterator[Problem]:
    """Yield the problems that keep agents from running. Creates nothing."""
    denied = []
    for right in RIGHTS:
        allowed, why = _is_allowed(api, right, timeout)
        if allowed is None:
            yield Problem(why, "See the message.")
            return
        if not allowed:
            denied.append(_shown(right))
    if denied:
        yield Problem(
            f"Not allowed in the namespace {api.namespace}: {', '.join(denied)}", _FIX_RIGHTS
        )
    yield from _dry_run(api, make_job, timeout)


def _is_allowed(
    api: ApiClient, right: tuple[str, str, str, str], timeout: float
) -> tuple[bool | None, str]:
    """Return whether the right exists. None and the reason if that can't be asked."""
    verb, group, resource, subresource = right
    attributes = {
        "namespace": api.namespace,
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    exchange = api.request("POST", _REVIEW, body=body, timeout=timeout)
    answer: Any = (
        parse_json(exchange) if exchange.failure is None and exchange.status == 201 else None
    )
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or not isinstance(status.get("allowed"), bool):
        return None, describe(exchange)
    return status["allowed"], ""


def _shown(right: tuple[str, str, str, str]) -> str:
    verb, _, resource, subresource = right
    return f"{verb} {resource}/{subresource}" if subresource else f"{verb} {resource}"


def _dry_run(api: ApiClient, make_job: MakeJob, timeout: float) -> Iterator[Problem]:
    """Ask the API server for a Job that it does not store."""
    token = "doctor"
    try:
        job = make_job(BeadTask("doctor-0", _SAMPLE, "doctor"), token)
    except (TemplateRenderError, JobNotPossible):
        # The template needs more columns than the sample has. The error of each bead says so.
        return
    exchange = api.request(
        "POST",
        api.jobs_path(),
        query={"fieldValidation": "Strict", "dryRun": "All"},
        body=job,
        timeout=timeout,
    )
    if not isinstance(answers.interpret_create(exchange, names.job_name(token)), Accepted):
        yield Problem(f"A Job would not be accepted: {describe(exchange)}", "See the message.")
        return
    for warning in _WARNING.findall(exchange.headers.get("warning", "")):
        text = sanitize(warning.replace('\\"', '"'))
        if "PodSecurity" in text:
            yield Problem(
                f"The pod would be refused: {text}",
                "Set securityContext in the job_template, or use image instead.",
            )
