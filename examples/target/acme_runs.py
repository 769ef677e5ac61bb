"""A target for a service with the route ``POST /runs``."""

import json
from dataclasses import dataclass
from pathlib import Path

from dolt_watch.targets.sdk import (
    Accepted,
    Capacity,
    HttpClient,
    JobReport,
    TargetSettings,
    Unknown,
    Verdict,
    bead_payload,
    check_bearer,
    check_url,
    checked_timeout,
    default_answer,
    env_field,
    parse_json,
    secret_field,
    valid_job_id,
)


@dataclass(frozen=True, slots=True)
class AcmeSettings(TargetSettings):
    """The keys of `[targets.NAME]` with `kind = "acme"`."""

    kind: str = "acme"
    url: str = env_field("ACME_URL")
    token: str = secret_field("ACME_TOKEN")
    token_file: Path | None = None
    queue: str = "default"


class Acme:
    Settings = AcmeSettings

    def __init__(self, settings: AcmeSettings) -> None:
        check_url(
            settings, "url", settings.url, fix=f'[targets.{settings.name}] url = "http://HOST:PORT"'
        )
        check_bearer(settings, settings.url, settings.token)
        self.name, self.timeout = settings.name, checked_timeout(settings)
        self._queue = settings.queue
        self._headers = {
            "authorization": f"Bearer {settings.token}",
            "content-type": "application/json",
        }
        self._caller = HttpClient(settings.url)

    def capacity(self):
        return Capacity(None, "acme reports no capacity")

    def dispatch(self, task, token):
        body = json.dumps(
            {"token": token, "queue": self._queue, "bead": bead_payload(task)}
        ).encode()
        exchange = self._caller.exchange(
            "POST", "/runs", timeout=self.timeout, headers=self._headers, body=body
        )
        if exchange.failure is None and exchange.status == 201:
            answer = parse_json(exchange)
            job = valid_job_id(answer.get("run")) if isinstance(answer, dict) else ""
            return Accepted(job, 201) if job else Unknown(f"no run in {exchange.summary}", 201)
        return default_answer(exchange)

    def verdict(self, job, started):
        return JobReport(Verdict.UNKNOWN)

    def close(self):
        self._caller.close()
