"""The target ``agent-service``: claude-agent-service, asked directly (commit eccf0dd).

dolt_watch sends a prompt of its own, and reads the service's capacity and its verdict on each job.
The service doesn't deduplicate and can't list its jobs, so a lost job id can't be found again. The
token is sent as metadata, for users.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from urllib.parse import quote

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Refused, Unknown
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.agent_service_settings import AgentServiceSettings
from dolt_watch.targets.http_client import HttpClient, HttpResult
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.responses import STATUS_TIMEOUT, default_answer, valid_job_id
from dolt_watch.targets.service_health import interpret_health
from dolt_watch.targets.settings import missing
from dolt_watch.targets.templates import TemplateRenderError, read_prompt
from dolt_watch.targets.validation import check_bearer, check_url, checked_timeout

VERDICTS = {
    "queued": Verdict.RUNNING,
    "running": Verdict.RUNNING,
    "completed": Verdict.FINISHED,
    "failed": Verdict.FINISHED,
    "error": Verdict.FINISHED,
    # The service doesn't count the job any more, but its agent may run on. The word 'timeout' is
    # kept, because such a job must not be tried again.
    "timeout": Verdict.FINISHED,
}


class AgentService:
    """The target: ``POST /execute``, ``GET /jobs/{id}``, ``GET /health``."""

    def __init__(self, settings: AgentServiceSettings) -> None:
        """Check the settings.

        Raises:
            SettingsError: There is no URL or no token, or the template can't be used.
        """
        name = settings.name
        fix = (
            f'Set [targets.{name}] url = "http://HOST:PORT" (claude-agent-service), or'
            " CLAUDE_AGENT_SERVICE_URL."
        )
        check_url(settings, "url", settings.url, fix=fix)
        if not settings.token:
            fix = f'Set API_BEARER_TOKEN, or [targets.{name}] token_file = "/path/to/token".'
            raise missing(settings, "token", "bearer token", fix)
        check_bearer(settings, settings.url, settings.token)
        self.name = name
        self.timeout = checked_timeout(settings)
        self._settings = settings
        self._authorization = {"authorization": f"Bearer {settings.token}"}
        template = settings.prompt_template
        self._prompt = read_prompt(template, settings.origin("prompt_template"))
        self._service = HttpClient(settings.url)

    def capacity(self) -> Capacity:
        """Return the capacity that the service reports.

        An answer of something else means that it is down.
        """
        limit = min(self.timeout, STATUS_TIMEOUT)
        found = interpret_health(self._service.exchange("GET", "/health", timeout=limit))
        return found._replace(proof="both" if found.proof else "")

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        """Send one POST and return the answer."""
        try:
            prompt = self._prompt.render(task, token)
        except TemplateRenderError as error:
            return Refused(f"no prompt: {error}")
        # No release of the service reads the token yet. Its log shows it, and a proxy can use it.
        metadata = {"idempotency_key": token, "bead": task.bead}
        if task.rule:
            metadata["rule"] = task.rule
        request = {
            "prompt": prompt,
            "agent": self._settings.agent,
            "max_budget_usd": self._settings.max_budget_usd,
            "timeout_seconds": math.ceil(self._settings.run_timeout.total_seconds()),
            "metadata": metadata,
        }
        headers = {"content-type": "application/json", "idempotency-key": token}
        exchange = self._service.exchange(
            "POST",
            "/execute",
            timeout=self.timeout,
            headers=headers | self._authorization,
            body=json.dumps(request).encode(),
        )
        return read_answer(exchange)

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        limit = min(self.timeout, STATUS_TIMEOUT)
        path, headers = f"/jobs/{quote(job, safe='')}", self._authorization
        return read_job(self._service.exchange("GET", path, timeout=limit, headers=headers))

    def close(self) -> None:
        self._service.close()


def read_answer(exchange: HttpResult) -> Answer:
    """Return the answer to ``POST /execute``.

    By the table in docs/reference/target-answers.md. Raises nothing.
    """
    if exchange.failure is None and exchange.status == 202:
        job = valid_job_id(exchange.json_field("job_id"))
        # An invalid job id is no proof that nothing runs.
        return Accepted(job, 202) if job else Unknown(f"no job_id in {exchange.summary}", 202)
    return default_answer(exchange)


def read_job(exchange: HttpResult) -> JobReport:
    """Return the verdict from an answer to ``GET /jobs/{id}``. Raises nothing."""
    if exchange.failure is not None:
        return JobReport(Verdict.UNKNOWN, error=exchange.reason)
    if exchange.status == 404 and exchange.json_field("detail") == "Job not found":
        # The service's own text. Another 404 comes from a proxy or a wrong path, and says nothing
        # about the job.
        return JobReport(Verdict.LOST, error=exchange.summary)
    word = exchange.json_field("status") if exchange.status == 200 else None
    if not isinstance(word, str) or word not in VERDICTS:
        return JobReport(Verdict.UNKNOWN, error=exchange.summary)
    error = _error(exchange) if word in ("failed", "error", "timeout") else ""
    return JobReport(VERDICTS[word], word, error)


def _error(exchange: HttpResult) -> str:
    """Return the job's error text: ``error``, or what it wrote to stderr, or its exit code."""
    for key in ("error", "stderr", "exit_code"):
        value = exchange.json_field(key)
        if isinstance(value, str) and value.strip():
            return sanitize(value.strip())
        if key == "exit_code" and isinstance(value, int):
            return f"exit code {value}"
    return ""
