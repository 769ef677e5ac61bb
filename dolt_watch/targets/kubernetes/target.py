"""The target ``kubernetes``: ``POST``, ``GET`` and ``DELETE`` of Jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Refused, Unknown
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.http_client import AWAY, HttpResult
from dolt_watch.targets.kubernetes import answers, names
from dolt_watch.targets.kubernetes.answers import PodState
from dolt_watch.targets.kubernetes.api import (
    TABLE,
    ApiClient,
    describe,
    find_connection,
    is_missing,
)
from dolt_watch.targets.kubernetes.health import StartHealth
from dolt_watch.targets.kubernetes.manifest import JobNotPossible, complete_job, tombstone
from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.kubernetes.validation import check_settings, load_templates
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.responses import STATUS_TIMEOUT
from dolt_watch.targets.start_failures import Failing, with_failures
from dolt_watch.targets.templates import TemplateRenderError

MAX_LIST = 32 * 1024 * 1024
"""Bytes of a list of Jobs as a Table: about 200 for each Job."""
STOP_INTERVAL = 0.2
"""Seconds between two checks whether a deleted Job has ended."""
LATE_POD_SECONDS = 1.0
"""Time in which the Job controller may still create the pod of a Job that was just deleted."""
YOUNG = timedelta(minutes=1)
"""A Job of this age certainly has its pod, or never will."""
CREATE_SHARE = 0.6
"""Share of ``timeout`` for the request that creates the Job. The rest is for settling it."""
_NEVER_RAN = JobReport(Verdict.LOST, error="it never ran", dead=True, started=False)
SWEEP = {"labelSelector": f"{names.TOMBSTONE}=true", "limit": "20"}


class _Deadline:
    """The end of one call, shared by all its requests."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.ends

    @property
    def left(self) -> float:
        return max(0.01, self.ends - time.monotonic())


class KubernetesTarget:
    """A target that runs each attempt as a Job. It keeps nothing between two calls."""

    deduplicates = True
    """A token runs at most once, and ``settle`` reports its run."""

    def __init__(
        self,
        settings: KubernetesSettings,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Check the settings. ``now`` returns seconds since the epoch.

        Raises:
            SettingsError: The settings can't work, or a template is invalid.
        """
        self.timeout = check_settings(settings)
        self.name = settings.name
        self.api = ApiClient(find_connection(settings, environ))
        self._settings, self._now, self._health = settings, now, StartHealth()
        self._manifest, self._prompt = load_templates(settings)

    def capacity(self) -> Capacity:
        """Return ``max_jobs`` minus the running Jobs of this installation.

        Down: the API server can't be asked, or the last Jobs failed within seconds.
        """
        jobs = self._list_jobs()
        found = answers.interpret_table(jobs, self._settings.max_jobs)
        failing = None if found.down else self._failing(jobs)
        live = len(answers.running_tokens(jobs)) if failing is not None else 0
        return with_failures(found, live, failing, self._now())

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        """Create the Job. If the answer is lost, find out whether the Job exists."""
        deadline = _Deadline(self.timeout)
        try:
            job = self.job_for(task, token)
        except TemplateRenderError as error:
            return Refused(f"no Job: {error}")
        except JobNotPossible as error:
            return Refused(f"no Job: {error}", permanent=True)
        name = names.job_name(token)
        exchange = self._create(job, self.timeout * CREATE_SHARE)
        answer = answers.interpret_create(exchange, name)
        if not isinstance(answer, Unknown):
            return answer
        away = "target" if exchange.failure in AWAY else answer.unreachable
        settled = self._settle(token, answer.why, away, deadline)
        # The first answer says more about the problem than a second one that is lost as well.
        return answer if isinstance(settled, Unknown) else settled

    @property
    def site(self) -> str:
        """The ID of the cluster and the namespace. '' if the CA file can't be read.

        Two clusters can have the same address, so the CA is part of the ID: in the wrong cluster,
        ``settle`` would report that a token never ran.
        """
        return self.api.site()

    def settle(self, token: str) -> JobReport:
        """Return the report of a token that may have been sent.

        If there is no Job of its name, the name is taken, so that no request under way can create
        one: the token never ran and never will. Any process at this site may ask again.
        """
        answer = self._settle(token, "nothing was sent", "", _Deadline(self.timeout))
        match answer:
            case Accepted(job=job):
                report = self.verdict(job, None)
                verdict = Verdict.RUNNING if report.verdict is Verdict.UNKNOWN else report.verdict
                return report._replace(verdict=verdict, job=job)
            case Refused(why=why):
                return JobReport(Verdict.LOST, error=why, dead=True, started=False)
            case _:
                return JobReport(Verdict.UNKNOWN, error=answer.why)

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        """Return the report from the Job's conditions and pods."""
        if not names.is_job_name(job := names.job_of(job)):
            return JobReport(Verdict.UNKNOWN, error="no Job can have this name")
        # All requests together have the time of one.
        deadline = _Deadline(self._look())
        exchange = self.api.get_job(job, deadline.left)
        if is_missing(exchange):
            return self._report_deleted(job, started, deadline)
        found = answers.job_in(exchange)
        if exchange.status != 200 or found is None:
            return JobReport(Verdict.UNKNOWN, error=describe(exchange))
        if answers.is_tombstone(found):
            return _NEVER_RAN
        # The Job's conditions decide if they are final.
        conditions = answers.conditions_of(found)
        if "Complete" in conditions:
            return JobReport(Verdict.FINISHED, "completed", dead=True)
        # Otherwise its pods: a failed Job can have a pod that is still alive.
        pods = self._pods(job, deadline)
        if isinstance(pods, str):
            return JobReport(Verdict.UNKNOWN, error=pods)
        if "Failed" in conditions and not pods.alive:
            report = answers.report_ended(conditions["Failed"], pods)
            if report.failed_at_start:
                failing = self._failing(self._list_jobs())
                report = report._replace(target_failed=failing is not None)
            return report
        deleted = found["metadata"].get("deletionTimestamp")
        if deleted or conditions.keys() & {"Failed", "FailureTarget"}:
            return JobReport(Verdict.RUNNING, "terminating")
        if pods.started or pods.ended or "SuccessCriteriaMet" in conditions:
            return JobReport(Verdict.RUNNING, "running")
        # No pod yet: refused by quota or admission, or not scheduled.
        refusal = "" if pods.alive else self._refusal(found, deadline)
        age, limit = answers.age_of(found, exchange), self._settings.start_timeout
        return answers.report_not_started(refusal, pods, age, limit)

    def stop(self, job: str, by: str, reason: str) -> JobReport:
        """Delete the Job and its pods, wait for their end, and return the report.

        A pod may take its grace period to end. Until then it is 'terminating'.
        """
        if not names.is_job_name(job := names.job_of(job)):
            return JobReport(Verdict.UNKNOWN, error="no Job can have this name")
        deadline = _Deadline(self._look())
        exchange = self.api.get_job(job, deadline.left)
        if (found := answers.job_in(exchange)) is not None:
            if answers.is_tombstone(found):  # It keeps the name from a request that is under way.
                return _NEVER_RAN
            exchange = self._delete(job, found, deadline)
        if exchange.status not in (200, 202) and not is_missing(exchange):
            return JobReport(Verdict.UNKNOWN, error=describe(exchange))
        report = self.verdict(job, None)
        while report.verdict is Verdict.RUNNING and not deadline.is_over:
            time.sleep(STOP_INTERVAL)
            report = self.verdict(job, None)
        return report

    def live_tokens(self) -> list[str]:
        """Return the tokens of this installation's running Jobs. Empty if that can't be asked."""
        return answers.running_tokens(self._list_jobs())

    def logs(self, job: str, follow: bool = False) -> Iterator[bytes]:
        """Yield the output of the Job's pod in pieces. ``follow``: until the run ends.

        Raises:
            LookupError: There is no such Job.
            LogsUnavailable: Not allowed, or the connection broke.
        """
        # Late: only `logs` reads output.
        from dolt_watch.targets.kubernetes.logs import read_logs

        return read_logs(self.api, names.job_of(job), follow=follow, timeout=self._look())

    def check(self) -> list[tuple[str, str]]:
        """Return the problems and their fixes, for `dolt_watch doctor`. Creates nothing."""
        # Late: only `doctor` checks access.
        from dolt_watch.targets.kubernetes.access import find_problems

        return list(find_problems(self.api, self.job_for, self._look()))

    def close(self) -> None:
        self.api.close()

    def job_for(self, task: BeadTask, token: str) -> dict[str, object]:
        """Return the Job that a dispatch creates. Raises TemplateRenderError, JobNotPossible."""
        prompt = self._prompt.render(task, token)
        manifest = self._manifest(task, token)
        return complete_job(manifest, self._settings, task, token, prompt)

    # -- settling --------------------

    def _settle(self, token: str, why: str, away: str, deadline: _Deadline) -> Answer:
        name = names.job_name(token)
        never_ran = Refused(f"{why}; Job {name} was never created", unreachable=away)
        if found := self._lookup(name, never_ran, deadline):
            return found
        # A first 404 proves nothing, because the request may still be under way. The owner of the
        # name decides.
        exchange = self._create(tombstone(self._settings, token), deadline.left)
        if exchange.status == 201 and answers.object_name(exchange) == name:
            return self._without_pods(name, never_ran, deadline)
        unknown = Unknown(describe(exchange), exchange.status)
        return self._lookup(name, never_ran, deadline) or unknown

    def _lookup(self, name: str, never_ran: Refused, deadline: _Deadline) -> Answer | None:
        """Return the answer for the Job of this name. None if it is missing."""
        exchange = self.api.get_job(name, deadline.left)
        if is_missing(exchange):
            return None
        found = answers.job_in(exchange)
        if exchange.status != 200 or found is None or found["metadata"].get("name") != name:
            unreachable = "target" if exchange.failure in AWAY else ""
            return Unknown(describe(exchange), exchange.status, unreachable)
        if answers.is_tombstone(found):
            return self._without_pods(name, never_ran, deadline)
        return Accepted(name)

    def _without_pods(self, name: str, never_ran: Refused, deadline: _Deadline) -> Answer:
        # A user may have deleted the Job without its pods, which frees the name as well.
        pods = self._pods(name, deadline)
        if isinstance(pods, str):
            return Unknown(pods)
        if pods.alive or pods.ended:
            return Unknown(f"Job {name} was deleted, but its pod exists")
        self._sweep(deadline)
        return never_ran

    def _sweep(self, deadline: _Deadline) -> None:
        """Delete tombstones that are older than the time for which finished Jobs are kept.

        Failures don't matter.
        """
        jobs, left = self.api.jobs_path(), deadline.left
        exchange = self.api.request("GET", jobs, query=SWEEP, timeout=left)
        for job in answers.items_in(exchange) or ():
            keep = max(self._settings.keep_jobs, timedelta(days=1))
            if "metadata" in job and answers.age_of(job, exchange) > keep:
                path = self.api.jobs_path(str(job["metadata"].get("name", "")))
                query = {"propagationPolicy": "Background"}
                self.api.request("DELETE", path, query=query, timeout=deadline.left)

    # -- requests --------------------

    def _look(self) -> float:
        return min(self.timeout, STATUS_TIMEOUT)

    def _failing(self, jobs: HttpResult) -> Failing | None:
        """Return whether the last Jobs failed at their start. ``jobs``: as ``_list_jobs``."""
        deadline = _Deadline(self._look())
        return self._health.failing(
            jobs,
            lambda: self._list_jobs(successful=True),
            lambda job: self._pods(job, deadline),
        )

    def _list_jobs(self, successful: bool = False) -> HttpResult:
        """List the Jobs of this installation that have not succeeded, as a Table without objects.

        Finished Jobs are kept for ``keep_jobs``. The list is read for each dispatch, so the API
        server leaves them out. ``successful``: list those instead.
        """
        query = {
            "labelSelector": f"{names.INSTALLATION}={self._settings.installation}",
            "fieldSelector": f"status.successful{'!=' if successful else '='}0",
            "includeObject": "None",
        }
        path, timeout = self.api.jobs_path(), self._look()
        return self.api.request(
            "GET", path, query=query, accept=TABLE, timeout=timeout, max_body=MAX_LIST
        )

    def _create(self, job: Mapping[str, object], timeout: float) -> HttpResult:
        path, query = self.api.jobs_path(), {"fieldValidation": "Strict"}
        return self.api.request("POST", path, query=query, body=job, timeout=timeout)

    def _delete(
        self, name: str, job: Mapping[str, dict[str, object]], deadline: _Deadline
    ) -> HttpResult:
        """Delete this Job and its pods, but not another one that has its name by now."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": job["metadata"].get("uid")},
        }
        path = self.api.jobs_path(name)
        return self.api.request("DELETE", path, body=options, timeout=deadline.left)

    def _pods(self, job: str, deadline: _Deadline) -> PodState | str:
        """Return the state of the Job's pods, or why it is not known."""
        exchange = self.api.list_pods(job, deadline.left)
        found = answers.pods_in(exchange)
        return describe(exchange) if found is None else found

    def _report_deleted(self, job: str, started: datetime | None, deadline: _Deadline) -> JobReport:
        """Return the report of a Job that doesn't exist, from its pods.

        The controller can create the pod of a Job that was deleted meanwhile, and the garbage
        collector deletes it later. So the pods of a young Job are read twice.
        """
        pods = self._pods(job, deadline)
        if started is None or datetime.now(UTC) - started < YOUNG:
            time.sleep(min(LATE_POD_SECONDS, deadline.left / 2))
            pods = self._pods(job, deadline)
        if isinstance(pods, str):
            return JobReport(Verdict.UNKNOWN, error=pods)
        if pods.alive:
            return JobReport(Verdict.RUNNING, "terminating")
        return JobReport(Verdict.LOST, error="the Job was deleted", dead=True)

    def _refusal(self, job: Mapping[str, dict[str, object]], deadline: _Deadline) -> str:
        """Return why no pod could be created for the Job. '' if no event says so."""
        selector = f"involvedObject.uid={job['metadata'].get('uid')},reason=FailedCreate"
        query = {"fieldSelector": selector, "limit": "50"}
        events, left = self.api.core_path("events"), deadline.left
        exchange = self.api.request("GET", events, query=query, timeout=left)
        found = answers.items_in(exchange) or []
        latest = max(found, key=lambda event: str(event.get("lastTimestamp") or ""), default=None)
        return sanitize(str(latest.get("message", ""))) if latest is not None else ""
