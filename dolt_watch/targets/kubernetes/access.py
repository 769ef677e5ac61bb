"""The checks of `dolt_watch doctor`: rights, and whether the API server would accept a Job."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from dolt_watch.core.model.target_answers import Accepted
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.http_client import HttpResult
from dolt_watch.targets.kubernetes import answers, names
from dolt_watch.targets.kubernetes.api import ApiClient, describe, status_field
from dolt_watch.targets.kubernetes.manifest import JobNotPossible
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.templates import TemplateRenderError

MakeJob = Callable[[BeadTask, str], Mapping[str, object]]
"""Makes the Job of a bead and a token. Raises the errors of templates and manifests."""
RIGHTS = (
    *((verb, "batch", "jobs", "") for verb in ("create", "get", "list", "delete")),
    ("list", "", "pods", ""),
    ("list", "", "events", ""),
    ("get", "", "pods", "log"),
)
"""Verb, API group, resource, subresource: as cronjobs/components/agents/role.yaml gives them."""
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_FIX_RIGHTS = (
    "Add the component cronjobs/components/agents, or a Role with these verbs, in that namespace."
)
_WARNING = re.compile(r'\b\d{3} \S+ "((?:[^"\\]|\\.)*)"')
_SAMPLE = {
    **dict.fromkeys(("description", "design", "acceptance_criteria", "notes"), ""),
    "title": "check",
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
        exchange = _ask(api, right, timeout)
        allowed = exchange.json_field("status", "allowed") if exchange.status == 201 else None
        if not isinstance(allowed, bool):
            yield Problem(describe(exchange), fix_for(exchange, api))
            return
        if not allowed:
            verb, _, *resource = right
            denied.append(f"{verb} {'/'.join(filter(None, resource))}")
    if denied:
        message = f"Not allowed in the namespace {api.namespace}: {', '.join(denied)}"
        yield Problem(message, _FIX_RIGHTS)
    yield from _dry_run(api, make_job, timeout)


def _ask(api: ApiClient, right: tuple[str, str, str, str], timeout: float) -> HttpResult:
    """Ask whether the right exists."""
    names = ("verb", "group", "resource", "subresource")
    attributes = {"namespace": api.namespace, **dict(zip(names, right, strict=True))}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return api.request("POST", _REVIEW, body=body, timeout=timeout)


def fix_for(exchange: HttpResult, api: ApiClient) -> str:
    """Return what a user does about a request that failed or was refused."""
    if exchange.failure is not None:
        if "can't be read" in exchange.reason:
            return (
                "Correct token_file or ca_file of the target, or create that file. In a pod, the"
                " ServiceAccount's token must be mounted (automountServiceAccountToken)."
            )
        if exchange.reason.startswith("TLS failed"):
            return "Set ca_file of the target to the certificate of the cluster's CA."
        return f"Check that the API server answers at {api.server}, or correct server."
    reason = status_field(exchange, "reason")
    if not reason:
        return f"Correct server of the target: no Kubernetes API server answers at {api.server}."
    if exchange.status == 401:
        source = f" in {api.token_file}" if api.token_file is not None else ": set token_file"
        return f"Replace the token{source}. The API server doesn't know it, or it has expired."
    if exchange.status == 404:
        return f"`kubectl create namespace {api.namespace}`, or correct namespace of the target."
    if exchange.status == 403 and answers.QUOTA in describe(exchange):
        return "Raise the ResourceQuota, or wait until Jobs have ended and are deleted."
    if exchange.status == 403:
        return f"{_FIX_RIGHTS} If a policy of the cluster refuses the Job, change the Job."
    if exchange.status in (400, 413, 422):
        return "Correct the field that the message names: in the target's settings or job_template."
    return "Check the API server: `kubectl get --raw /readyz?verbose`."


def _dry_run(api: ApiClient, make_job: MakeJob, timeout: float) -> Iterator[Problem]:
    """Ask the API server for a Job that it does not store."""
    token = "doctor"
    try:
        job = make_job(BeadTask("doctor-0", _SAMPLE, "doctor"), token)
    except (TemplateRenderError, JobNotPossible):
        # The template needs more columns than the sample has. The error of each bead says so.
        return
    query = {"fieldValidation": "Strict", "dryRun": "All"}
    exchange = api.request("POST", api.jobs_path(), query=query, body=job, timeout=timeout)
    if not isinstance(answers.interpret_create(exchange, names.job_name(token)), Accepted):
        says = f"A Job would not be accepted: {describe(exchange)}"
        yield Problem(says, fix_for(exchange, api))
        return
    for warning in _WARNING.findall(exchange.headers.get("warning", "")):
        text = sanitize(warning.replace('\\"', '"'))
        if "PodSecurity" in text:
            fix = "Set securityContext in the job_template, or use image instead."
            yield Problem(f"The pod would be refused: {text}", fix)
