"""The target ``webhook``: a CloudEvents 1.0 event in structured JSON, signed as Standard Webhooks.

Any 2xx answer accepts the bead.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlsplit

from dolt_watch.core.model import Capacity, JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted, Answer, Refused, Unknown
from dolt_watch.targets.bead_payload import bead_payload
from dolt_watch.targets.http_client import HttpClient, HttpResult, TransportFailure
from dolt_watch.targets.protocol import BeadTask
from dolt_watch.targets.responses import default_answer, valid_job_id
from dolt_watch.targets.settings import invalid, missing
from dolt_watch.targets.templates import Template, TemplateRenderError, read_template
from dolt_watch.targets.validation import check_bearer, check_url, checked_timeout
from dolt_watch.targets.webhook_settings import WebhookSettings

if TYPE_CHECKING:
    from standardwebhooks import Webhook as Signer

TYPE = "dev.dolt-watch.bead.dispatch"
EVENTS = "application/cloudevents+json; charset=utf-8"
PREFIX = "whsec_"
SHORTEST_SECRET, LONGEST_SECRET = 24, 64
"""Length of a secret in bytes, by the specification."""
_CREATE_SECRET = f'echo "{PREFIX}$(openssl rand -base64 32)"'
_HEADER = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_OURS = frozenset({"authorization", "connection", "content-length", "host", "transfer-encoding"})


class Webhook:
    """The target. A receiver reports neither its capacity nor the end of a run."""

    def __init__(self, settings: WebhookSettings, now: Callable[[], float] = time.time) -> None:
        """Check the settings.

        Args:
            settings: The target's settings.
            now: Returns seconds since 1970. A receiver refuses a signature that is five minutes
                old.

        Raises:
            SettingsError: There is no URL or no secret, or the secret, a template or a header is
                invalid.
        """
        # Everything that can be wrong is found here, before a bead is claimed.
        fix = f'Set [targets.{settings.name}] url = "https://HOST/PATH".'
        check_url(settings, "url", settings.url, fix=fix, whole=True)
        if not re.fullmatch(r"[!-~]+", settings.source):
            fix = 'Set source = "https://tracker.example/beads", or another URI reference.'
            raise invalid(settings, "source", "source isn't a URI reference", fix)
        self.name = settings.name
        self.timeout = checked_timeout(settings)
        self._settings, self._now = settings, now
        self._signers = _signers(settings)
        path, place = settings.body_template, settings.origin("body_template")
        self._body = read_template(path, place) if path is not None else None
        self._headers = {
            name: _header(settings, name, text) for name, text in settings.headers.items()
        }
        if settings.token:
            check_bearer(settings, settings.url, settings.token)
        # Values of the query are secrets: errors must not show them.
        parts = urlsplit(settings.url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        values = [pair.partition("=")[2] for pair in parts.query.split("&")]
        self._caller = HttpClient(
            f"{parts.scheme}://{parts.netloc}", [*values, *map(unquote_plus, values)]
        )

    def capacity(self) -> Capacity:
        return Capacity(None, "a webhook receiver reports no capacity")

    def dispatch(self, task: BeadTask, token: str) -> Answer:
        """Send one POST and return the answer. The token is the ``webhook-id``."""
        moment = datetime.fromtimestamp(self._now(), UTC)
        try:
            headers = {
                name: _line(template.render(task, token), name)
                for name, template in self._headers.items()
            }
            if self._body is None:
                kind, body = EVENTS, event(task, token, self._settings.source, moment)
            else:
                kind, body = "application/json", self._body.render(task, token)
        except TemplateRenderError as error:
            return Refused(f"no webhook: {error}")
        exchange = self._post(token, moment, body, {"content-type": kind, **headers}, self.timeout)
        return read_answer(exchange, token, self._settings.job_key)

    def deliver(self, id: str, attributes: Mapping[str, Any], timeout: float) -> HttpResult:
        """Send one POST with another event of dolt_watch.

        Args:
            id: ID by which a receiver deduplicates.
            attributes: Attributes and data of the CloudEvent, without those that every event has.
            timeout: Seconds.
        """
        moment = datetime.fromtimestamp(self._now(), UTC)
        common = _cloudevent_attributes(id, self._settings.source, moment)
        body = json.dumps({**common, **attributes})
        return self._post(id, moment, body, {"content-type": EVENTS}, min(timeout, self.timeout))

    def _post(
        self, id: str, moment: datetime, body: str, headers: Mapping[str, str], timeout: float
    ) -> HttpResult:
        signed = {
            **{name.lower(): value for name, value in headers.items()},
            "webhook-id": id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": " ".join(each.sign(id, moment, body) for each in self._signers),
        }
        if self._settings.token:
            signed["authorization"] = f"Bearer {self._settings.token}"
        return self._caller.exchange(
            "POST", self._path, timeout=timeout, headers=signed, body=body.encode()
        )

    def verdict(self, job: str, started: datetime | None) -> JobReport:
        return JobReport(Verdict.UNKNOWN)

    def close(self) -> None:
        self._caller.close()


def event(task: BeadTask, token: str, source: str, moment: datetime) -> str:
    """Return the CloudEvent.

    It is ASCII, so that signer and reader can't differ in its encoding.
    """
    attributes = _cloudevent_attributes(token, source, moment)
    attributes |= {"type": TYPE, "subject": task.bead}
    if task.rule:
        attributes["rule"] = task.rule  # An extension attribute.
    return json.dumps({**attributes, "data": bead_payload(task)})


def _cloudevent_attributes(id: str, source: str, moment: datetime) -> dict[str, Any]:
    time = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "time": time,
        "datacontenttype": "application/json",
    }


def read_answer(exchange: HttpResult, token: str, job_key: str = "job_id") -> Answer:
    """Return the answer.

    By the table in docs/reference/target-answers.md. Raises nothing.
    """
    status = exchange.status
    # The status alone is enough, so the rest of an accepting answer may be of any length.
    whole = exchange.failure is None or exchange.failure is TransportFailure.OVERSIZED
    if whole and status is not None and 200 <= status < 300:
        job = exchange.json_field(job_key)
        return Accepted(valid_job_id(str(job) if type(job) is int else job) or token, status)
    if exchange.failure is None and status == 410:
        return Refused(exchange.summary, 410, halts_rule=True)
    if exchange.failure is None and status == 409:
        # The receiver already has this id, because something between repeated the request.
        return Unknown(exchange.summary, 409)
    return default_answer(exchange)


# -- settings --------------------


def _signers(settings: WebhookSettings) -> list[Signer]:
    # Late: only signed webhooks need it.
    from standardwebhooks import Webhook as Signer

    if not settings.secret:
        fix = f'Set [targets.{settings.name}] secret_file = "…". To create a secret, run:'
        thing = "secret for the signature"
        raise missing(settings, "secret", thing, f"{fix} {_CREATE_SECRET}")
    given = {"secret": settings.secret, "previous_secret": settings.previous_secret}
    return [Signer(_key(settings, key, value)) for key, value in given.items() if value]


def _key(settings: WebhookSettings, name: str, value: str) -> bytes:
    """Return the bytes of the secret.

    The library silently drops characters that aren't base64, which would leave a weak key.
    """
    key = b""
    if value.startswith(PREFIX):
        with suppress(ValueError):  # Not base64.
            key = base64.b64decode(value.removeprefix(PREFIX), validate=True)
    if not SHORTEST_SECRET <= len(key) <= LONGEST_SECRET:
        form = f"'{PREFIX}' and base64 of {SHORTEST_SECRET} to {LONGEST_SECRET} bytes"
        fix = f"To create a secret, run: {_CREATE_SECRET}"
        raise invalid(settings, name, f"the {name} isn't {form}", fix)
    return key


def _header(settings: WebhookSettings, name: str, text: str) -> Template:
    if not re.fullmatch(_HEADER, name):
        fix = "Use letters, digits and '-', for example X-Team."
        raise invalid(settings, "headers", f"{name!r} isn't a valid name of a header", fix)
    if name.lower() in _OURS or name.lower().startswith("webhook-"):
        bearer = name.lower() == "authorization"
        fix = "Set token_file for a bearer token." if bearer else "Remove it."
        raise invalid(settings, "headers", f"the header {name} is reserved for dolt_watch", fix)
    return Template(text, f"{settings.origin('headers')} {name}")


def _line(value: str, name: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise TemplateRenderError(f"the header {name} can't contain {value!a:.80}")
    return value.strip()
