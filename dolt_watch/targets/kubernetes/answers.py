"""The meaning of the API server's answers, by the tables in docs/reference/target-answers.md.

Pure. Raises nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any, NamedTuple

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Busy, Refused, Unknown
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.http_client import HttpResult
from dolt_watch.targets.kubernetes import names
from dolt_watch.targets.kubernetes.api import describe, status_field
from dolt_watch.targets.responses import default_answer, retry_after
from dolt_watch.targets.start_failures import QUICK

_ENDED = frozenset({"Complete", "Failed", "Suspended"})
"""Values of the column Status of Jobs that don't run."""
QUOTA = "exceeded quota"
"""Part of the API server's message if a ResourceQuota has no room."""
_NOT_STARTED = ("StartError", "ContainerCannotRun")
"""Reasons of a container whose program could not be started."""
_AGE_UNITS = {"y": 31536000.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_AGE_PART = re.compile(r"(\d+)([ydhms])")


def interpret_create(exchange: HttpResult, name: str) -> Answer:
    """Return the answer for a reply to ``POST …/jobs``.

    ``Unknown`` means that the Job may exist and must be looked up by its name. This includes 409
    for a Job that already exists.
    """
    reason, why, status = status_field(exchange, "reason"), describe(exchange), exchange.status
    if exchange.failure is not None or status is None:
        return default_answer(exchange)
    if status == 201:
        return Accepted(name) if object_name(exchange) == name else Unknown(why, 201)
    if not reason:
        # Not a text of the API server but of a proxy, for which only the general rules apply. Any
        # claim that nothing runs is then confirmed by the name.
        answer = default_answer(exchange)
        return Unknown(why, status) if isinstance(answer, Busy) and status == 409 else answer
    match status, reason:
        case 409, "AlreadyExists":
            return Unknown(why, 409)
        case (409, _) | (429, _):
            # The quota changed in the meantime, or there were too many requests. Neither request
            # was carried out.
            return Busy(why, status, retry_after(exchange))
        case 403, _ if QUOTA in why:
            return Busy(why, 403)
        case (401, _) | (404, _):
            return Refused(why, status, halts_rule=True)
        case 403, _:
            return Refused(why, 403, halts_rule=_halts_rule(why, exchange))
        case 413, _:
            return Refused(why, 413, permanent=True)
        case _ if 300 <= status < 500 and status != 408:
            return Refused(why, status)
    return Unknown(why, status, "service" if status in (502, 503, 504) else "")


def _halts_rule(why: str, exchange: HttpResult) -> bool:
    """Return whether a 403 concerns all Jobs, and not only this one.

    The authorizer refused the request, or the namespace is being deleted. Otherwise it was an
    admission rule about this Job.
    """
    causes = exchange.json_field("details", "causes")
    return " cannot create resource " in why or any(
        isinstance(cause, dict) and cause.get("reason") == "NamespaceTerminating"
        for cause in (causes if isinstance(causes, list) else ())
    )


def object_name(exchange: HttpResult) -> str:
    """Return the name of the Job in the answer. '' if the answer isn't a Job."""
    found = job_in(exchange)
    return str(found["metadata"].get("name", "")) if found is not None else ""


def job_in(exchange: HttpResult) -> Mapping[str, Any] | None:
    """Return the Job in the answer, with metadata. None if the answer isn't a Job."""
    answer = exchange.json_field()
    if not isinstance(answer, dict) or answer.get("kind") != "Job":
        return None
    if not isinstance(answer.get("metadata"), dict):
        return None
    try:  # Another server may send parts of any type.
        is_tombstone(answer)
        conditions_of(answer)
    except (AttributeError, TypeError):
        return None
    return answer


def is_tombstone(job: Mapping[str, Any]) -> bool:
    return bool((job["metadata"].get("labels") or {}).get(names.TOMBSTONE))


class JobRow(NamedTuple):
    """One Job of a Table."""

    name: str
    status: str
    age: str
    """Time since its creation as Kubernetes shows it, for example '3m20s'. '' if it is missing."""

    @property
    def runs(self) -> bool:
        return self.status not in _ENDED

    @property
    def seconds(self) -> tuple[float, float]:
        """The least and the greatest age in seconds: '3h' means less than four hours."""
        parts = _AGE_PART.findall(self.age)
        if not parts or "".join(f"{number}{unit}" for number, unit in parts) != self.age:
            return 0.0, inf
        least = sum(float(number) * _AGE_UNITS[unit] for number, unit in parts)
        return least, least + _AGE_UNITS[parts[-1][1]]


def interpret_table(exchange: HttpResult, max_jobs: int) -> Capacity:
    """Return the capacity from a list of Jobs as a Table: ``max_jobs`` minus the running ones.

    It is never ``idle``: a POST that is under way creates a Job after the list was made. Whether a
    token runs is asked by its name instead.
    """
    if exchange.failure is not None or exchange.status != 200:
        return Capacity(0, describe(exchange), down=True)
    rows = rows_in(exchange)
    if rows is None:
        return Capacity(0, "the list of Jobs has no column Status (Kubernetes 1.31)", down=True)
    running = sum(row.runs for row in rows)
    free = max(0, max_jobs - running)
    return Capacity(free, f"{running} of {max_jobs} Jobs are running", proof="both")


def running_tokens(exchange: HttpResult) -> list[str]:
    """Return the tokens of the running Jobs in a Table. Empty if the answer isn't a Table.

    A token that can't be part of a name is left out, since dolt_watch makes none.
    """
    found = (names.token_in(row.name) for row in rows_in(exchange) or () if row.runs)
    return [token for token in found if token]


def rows_in(exchange: HttpResult) -> list[JobRow] | None:
    """Return the Jobs of a Table. None if the answer isn't a Table of Jobs."""
    table: Any = exchange.json_field() if exchange.status == 200 else None
    try:
        columns = [column["name"] for column in table["columnDefinitions"]]
        name, status = columns.index("Name"), columns.index("Status")
        age = columns.index("Age") if "Age" in columns else -1
        return [
            JobRow(str(cells[name]), str(cells[status]), str(cells[age]) if age >= 0 else "")
            for cells in (row["cells"] for row in table["rows"] or ())
        ]
    except (TypeError, KeyError, IndexError, ValueError):
        return None


class PodState(NamedTuple):
    """The state of a Job's pods."""

    alive: bool
    """A pod exists that has not ended."""
    started: bool = False
    """One of its containers runs."""
    waits_for: str = ""
    """The reason why it does not start."""
    ended: str = ""
    """Its end: exit code, reason, last output."""
    bead: str = ""
    """The bead of the pod that ended."""
    failed_at_start: bool = False
    """A container failed within seconds of its start."""
    ended_at: float = 0.0
    """When that container ended, in seconds since the epoch. 0 if it is not known."""


def pods_in(exchange: HttpResult) -> PodState | None:
    """Return the state of the pods in a list. None if the answer isn't a list of pods."""
    items = items_in(exchange)
    try:  # Another server may send parts of any type.
        return None if items is None else read_pods(items)
    except (AttributeError, TypeError):
        return None


def read_pods(pods: Sequence[Mapping[str, Any]]) -> PodState:
    found = PodState(alive=False)
    for pod in pods:
        status = pod.get("status") or {}
        lists = (status.get(f"{kind}Statuses") for kind in ("initContainer", "container"))
        containers = [each for listed in lists for each in listed or ()]
        if status.get("phase") in ("Succeeded", "Failed"):
            found = found if found.ended else _with_end(found, pod, status, containers)
            continue
        runs = any("running" in (each.get("state") or {}) for each in containers)
        found = found._replace(
            alive=True,
            started=found.started or runs,
            waits_for=found.waits_for or _waiting(status, containers),
        )
    return found


def _with_end(
    state: PodState,
    pod: Mapping[str, Any],
    status: Mapping[str, Any],
    containers: Sequence[Mapping[str, Any]],
) -> PodState:
    """Return the state with the end of a pod: of the container that failed first in its list."""
    ends = ((each.get("state") or {}).get("terminated") or {} for each in containers)
    failed = next((end for end in ends if end.get("exitCode")), None)
    if failed is None:
        parts = (status.get("reason", ""), status.get("message", ""))
        return state._replace(ended=sanitize(": ".join(part for part in parts if part)))
    reason, message = failed.get("reason", ""), sanitize(str(failed.get("message", "")).strip())
    word = f"exit code {failed['exitCode']}"
    word += f" ({reason})" if reason not in ("", "Error") else ""
    began, ended_at = _seconds(failed.get("startedAt")), _seconds(failed.get("finishedAt"))
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    return state._replace(
        ended=f"{word}: {message}" if message else word,
        bead=str(annotations.get(names.BEAD, "")),
        # The kubelet reports a start in 1970 for a program that could not be started.
        failed_at_start=reason in _NOT_STARTED
        or (began > 0 and 0 <= ended_at - began <= QUICK.total_seconds()),
        ended_at=ended_at,
    )


def _seconds(text: Any) -> float:
    """Return a timestamp of Kubernetes in seconds since the epoch. 0 if it is missing."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _waiting(status: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> str:
    for each in containers:
        waiting = (each.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return _reason_and_message(waiting)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _reason_and_message(condition)
    return ""


def _reason_and_message(found: Mapping[str, Any]) -> str:
    return sanitize(f"{found.get('reason', '')}: {found.get('message', '')}".strip(": "))


def conditions_of(job: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the conditions that are true, by type."""
    listed = (job.get("status") or {}).get("conditions") or ()
    return {str(each.get("type")): each for each in listed if each.get("status") == "True"}


def report_ended(condition: Mapping[str, Any], pods: PodState) -> JobReport:
    """Return the report of a Job with the condition ``Failed``."""
    reason = str(condition.get("reason", ""))
    why = "" if reason == "BackoffLimitExceeded" else _reason_and_message(condition)
    error = "; ".join(part for part in (why, pods.ended) if part)
    # After its deadline the Job itself failed, and not its program.
    at_start = pods.failed_at_start and reason != "DeadlineExceeded"
    return JobReport(Verdict.FINISHED, "failed", error, dead=True, failed_at_start=at_start)


def report_not_started(
    refusal: str, pods: PodState, age: timedelta, start_timeout: timedelta
) -> JobReport:
    """Return the report of a Job that has no running container yet.

    ``refusal`` says why no pod could be created. A quota may have room later, and an image may
    appear. Every other refusal is permanent.
    """
    why = refusal or pods.waits_for
    hopeless = bool(refusal) and QUOTA not in refusal
    if hopeless or age >= start_timeout:
        # Not 'failed': the Job still exists, and may start its pod until it is deleted.
        shown = why or f"no pod is running after {int(age.total_seconds())} s"
        return JobReport(Verdict.FINISHED, "error", f"it can't start: {shown}")
    return JobReport(Verdict.RUNNING, "pending", why)


def age_of(job: Mapping[str, Any], exchange: HttpResult) -> timedelta:
    """Return the time since the Job was created, by the API server's clock. 0 if it is not
    known.
    """
    # Late: few answers contain a Retry-After date.
    from email.utils import parsedate_to_datetime

    try:
        now = parsedate_to_datetime(exchange.headers["date"])
        created = datetime.fromisoformat(str(job["metadata"]["creationTimestamp"]))
        return max(timedelta(0), now.astimezone(UTC) - created.astimezone(UTC))
    except (KeyError, ValueError, TypeError, OverflowError):
        return timedelta(0)


def items_in(exchange: HttpResult) -> list[Mapping[str, Any]] | None:
    """Return the objects of a list. None if the answer isn't a list."""
    items = exchange.json_field("items") if exchange.status == 200 else None
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        return None
    return items
