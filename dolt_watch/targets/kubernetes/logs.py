"""The output of a Job's pod."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from dolt_watch.errors import DoltWatchError
from dolt_watch.targets.http import CONNECT_TIMEOUT, ca_context
from dolt_watch.targets.kubernetes import answers, names
from dolt_watch.targets.kubernetes.api import ApiClient, describe
from dolt_watch.text import outside

MAX_ERROR = 2000
"""Bytes of an error's body that are shown."""


class LogsUnavailable(DoltWatchError):
    """The output of a run cannot be read."""


def read_logs(api: ApiClient, job: str, *, follow: bool, timeout: float) -> Iterator[bytes]:
    """Yield the output so far, and with ``follow`` what comes until the container has ended.

    ``timeout``: seconds to wait for the first answer, and between two pieces without ``follow``.

    Raises:
        LogsUnavailable: no such pod, not started yet, not allowed, or the connection broke.
    """
    import httpx

    path = f"{api.core_path('pods')}/{quote(_pod_of(api, job, timeout), safe='')}/log"
    query = {"follow": "true"} if follow else {}
    try:
        verify = ca_context(api.ca_file) if api.ca_file is not None else True
        limits = httpx.Timeout(timeout, connect=CONNECT_TIMEOUT, read=None if follow else timeout)
        with (
            httpx.Client(verify=verify, trust_env=False, timeout=limits) as client,
            client.stream("GET", api.server + path, params=query, headers=api.authorization()) as answer,
        ):
            if not answer.is_success:
                message = answer.read()[:MAX_ERROR].decode("utf-8", "replace")
                raise LogsUnavailable(f"HTTP {answer.status_code}: {outside(message)}")
            yield from answer.iter_bytes()
    except (OSError, httpx.HTTPError) as error:
        raise LogsUnavailable(outside(str(error) or type(error).__name__)) from None


def _pod_of(api: ApiClient, job: str, timeout: float) -> str:
    """Return the name of the Job's pod, the newest if there are several."""
    query = {"labelSelector": f"{names.JOB_NAME}={job}"}
    exchange = api.request("GET", api.core_path("pods"), query=query, timeout=timeout)
    pods = answers.items_in(exchange)
    if pods is None:
        raise LogsUnavailable(describe(exchange))
    if not pods:
        raise LogsUnavailable(f"Job {job} has no pod", fix=f"kubectl -n {api.namespace} describe job {job}")
    newest = max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))
    return str(newest["metadata"]["name"])
