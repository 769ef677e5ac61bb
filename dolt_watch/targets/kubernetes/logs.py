"""The output of a Job's pod."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import quote

from dolt_watch.errors import DoltWatchError
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.http_client import (
    CONNECT_TIMEOUT,
    MAX_BODY,
    ca_context,
    credential_in,
    redact,
)
from dolt_watch.targets.kubernetes import answers, names
from dolt_watch.targets.kubernetes.api import ApiClient, describe, is_missing

MAX_ERROR = 2000
"""Number of characters of an error's body that are shown."""
START_INTERVAL = 0.5
"""Seconds between two checks whether the pod has started, with ``follow``."""
_NOT_STARTED = ("is waiting to start", "ContainerCreating", "PodInitializing")


class LogsUnavailable(DoltWatchError):
    """The output of a run can't be read."""


class NoSuchJob(LogsUnavailable, LookupError):
    """There is no such Job."""


def read_logs(api: ApiClient, job: str, *, follow: bool, timeout: float) -> Iterator[bytes]:
    """Yield the output so far. With ``follow``, continue until the container ends.

    A Job whose pod has not started has no output yet. ``follow`` waits for it.

    Args:
        api: The API server.
        job: Name of the Job.
        follow: Continue until the container ends.
        timeout: Seconds to wait for the first answer, and without ``follow`` for each piece.

    Raises:
        NoSuchJob: There is no such Job.
        LogsUnavailable: Not allowed, or the connection broke.
    """
    while True:
        pod = _pod_of(api, job, timeout)
        if pod:
            output = _read(api, pod, follow, timeout)
            first = next(output, None)
            if first is not None:
                yield first
                yield from output
                return
        if not follow or _has_ended(api, job, timeout):
            return
        time.sleep(START_INTERVAL)


def _read(api: ApiClient, pod: str, follow: bool, timeout: float) -> Iterator[bytes]:
    # Late: httpx is slow to import, and an idle tick sends nothing.
    import httpx

    path = f"{api.core_path('pods')}/{quote(pod, safe='')}/log"
    query = {"follow": "true"} if follow else {}
    try:
        verify = ca_context(api.ca_file) if api.ca_file is not None else True
        limits = httpx.Timeout(timeout, connect=CONNECT_TIMEOUT, read=None if follow else timeout)
        headers = api.authorization()
        with (
            httpx.Client(verify=verify, trust_env=False, timeout=limits) as client,
            client.stream("GET", api.server + path, params=query, headers=headers) as answer,
        ):
            if answer.is_success:
                yield from answer.iter_bytes()
                return
            # The answer of a proxy may be of any length, and may repeat the token.
            body = next(answer.iter_raw(MAX_BODY), b"")
            message = redact(body, [credential_in(headers)]).decode("utf-8", "replace")
            if answer.status_code != 400 or not any(words in message for words in _NOT_STARTED):
                raise LogsUnavailable(f"HTTP {answer.status_code}: {sanitize(message, MAX_ERROR)}")
    except (OSError, httpx.HTTPError) as error:
        raise LogsUnavailable(sanitize(str(error) or type(error).__name__)) from None


def _pod_of(api: ApiClient, job: str, timeout: float) -> str:
    """Return the name of the Job's newest pod. '' if it has none yet."""
    if not names.is_job_name(job):
        raise NoSuchJob(f"No Job can have the name {sanitize(job, 80)!r}.")
    exchange = api.list_pods(job, timeout)
    pods = answers.items_in(exchange)
    if pods is None:
        raise LogsUnavailable(describe(exchange))
    if not pods:
        _has_ended(api, job, timeout)
        return ""
    newest = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    return str(newest["metadata"]["name"])


def _has_ended(api: ApiClient, job: str, timeout: float) -> bool:
    """Return whether the Job has ended. Raises NoSuchJob, LogsUnavailable."""
    exchange = api.get_job(job, timeout)
    if is_missing(exchange):
        raise NoSuchJob(f"The namespace {api.namespace} has no Job {job}.")
    found = answers.job_in(exchange)
    if found is None:
        raise LogsUnavailable(describe(exchange))
    return bool(answers.conditions_of(found).keys() & {"Complete", "Failed"})
