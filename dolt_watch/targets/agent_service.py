"""The target ``agent-service``: claude-agent-service, asked directly (commit eccf0dd).

dolt_watch sends a prompt of its own, and reads the service's capacity and its verdict on each job.
The service doesn't deduplicate and can't list its jobs, so a lost job id can't be found again. The
token is sent as metadata, for users.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Refused, Unknown
from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import sanitize
from dolt_watch.targets.http_client import HttpClient, HttpResult
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.responses import STATUS_TIMEOUT, default_answer, parse_json, valid_job_id
from dolt_watch.targets.service_health import interpret_health
from dolt_watch.targets.settings import AgentServiceSettings
from dolt_watch.targets.validation import check_bearer, check_url, checked_timeout

if TYPE_CHECKING:
    from dolt_watch.targets.templates import Template

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
            raise SettingsError(
                f"Target {name} has no bearer token.",
                where=settings.origin("token"),
                fix=(f'Set API_BEARER_TOKEN, or [targets.{name}] token_file = "/path/to/token".'),
            )
        check_bearer(settings, settings.url, settings.token)
        self.name = name
        self.timeout = checked_timeout(settings)
        self._settings = settings
        self._authorization = {"authorization": f"Bearer {settings.token}"}
        self._prompt = _template(settings)
        self._service = HttpClient(settings.url)

    def capacity(self) -> Capacity:
        """Return the capacity that the service reports.

        An answer of something else means that it is down.
        """
        found = interpret_health(
            self._service.exchange("GET", "/health", timeout=min(self.timeout, STATUS_TIMEOUT))
        )
        return found._replace(proof="both" if found.proof else "")

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        """Send one POST and return the answer."""
        # Late: jinja2 is slow to import, and few targets render a template.
        from dolt_watch.targets.templates import TemplateRenderError

        try:
            prompt = self._prompt.render(task, token)
        except TemplateRenderError as error:
            return Refused(f"no prompt: {error}")
        # No release of the service reads the token yet. Its log shows it, and a proxy can use it.
        metadata = {"idempotency_key": token, "bead": task.bead} | (
            {"rule": task.rule} if task.rule else {}
        )
        request = {
            "prompt": prompt,
            "agent": self._settings.agent,
            "max_budget_usd": self._settings.max_budget_usd,
            "timeout_seconds": math.ceil(self._settings.run_timeout.total_seconds()),
            "metadata": metadata,
        }
        headers = {
            "content-type": "application/json",
            "idempotency-key": token,
            **self._authorization,
        }
        body = json.dumps(request).encode()
        return read_answer(
            self._service.exchange(
                "POST", "/execute", timeout=self.timeout, headers=headers, body=body
            )
        )

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        limit = min(self.timeout, STATUS_TIMEOUT)
        path = f"/jobs/{quote(job, safe='')}"
        return read_job(
            self._service.exchange("GET", path, timeout=limit, headers=self._authorization)
        )

    def close(self) -> None:
        self._service.close()


def _template(settings: AgentServiceSettings) -> Template:
    # Late: only the default prompt is a file of the package.
    from importlib.resources import files

    # Late: jinja2 is slow to import, and few targets render a template.
    from dolt_watch.targets.templates import Template, read_template

    if settings.prompt_template is not None:
        return read_template(settings.prompt_template, settings.origin("prompt_template"))
    return Template((files(__package__) / "prompt.j2").read_text("utf-8"), "prompt.j2")


def read_answer(exchange: HttpResult) -> Answer:
    """Return the answer to ``POST /execute``.

    By the table in docs/reference/target-answers.md. Raises nothing.
    """
    if exchange.failure is None and exchange.status == 202:
        job = valid_job_id(_field(exchange, "job_id"))
        # An invalid job id is no proof that nothing runs.
        return Accepted(job, 202) if job else Unknown(f"no job_id in {exchange.summary}", 202)
    return default_answer(exchange)


def read_job(exchange: HttpResult) -> JobReport:
    """Return the verdict from an answer to ``GET /jobs/{id}``. Raises nothing."""
    if exchange.failure is not None:
        return JobReport(Verdict.UNKNOWN, error=exchange.reason)
    if exchange.status == 404 and _field(exchange, "detail") == "Job not found":
        # The service's own text. Another 404 comes from a proxy or a wrong path, and says nothing
        # about the job.
        return JobReport(Verdict.LOST, error=exchange.summary)
    word = _field(exchange, "status") if exchange.status == 200 else None
    verdict = VERDICTS.get(word, Verdict.UNKNOWN) if isinstance(word, str) else Verdict.UNKNOWN
    if verdict is Verdict.UNKNOWN:
        return JobReport(verdict, error=exchange.summary)
    assert isinstance(word, str)
    return JobReport(
        verdict, word, _error(exchange) if word in ("failed", "error", "timeout") else ""
    )


def _error(exchange: HttpResult) -> str:
    """Return the job's error text: ``error``, or what it wrote to stderr, or its exit code."""
    for key in ("error", "stderr", "exit_code"):
        value = _field(exchange, key)
        if isinstance(value, str) and value.strip():
            return sanitize(value.strip())
        if key == "exit_code" and isinstance(value, int):
            return f"exit code {value}"
    return ""


def _field(exchange: HttpResult, name: str) -> Any:
    answer = parse_json(exchange)
    return answer.get(name) if isinstance(answer, dict) else None
