"""A receiver of webhooks as one should be written: it verifies the signature, and answers with the name of the run that it began."""

from __future__ import annotations

from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.stubs.server import Recorded, Reply, StubServer

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="
OLD_SECRET = "whsec_" + "b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZC0="


class WebhookStub(StubServer):
    """``deduplicates``: a ``webhook-id`` that it has seen begins no second run. ``runs``: the beads whose runs began."""

    def __init__(self, secret: str = SECRET, *, deduplicates: bool = False, **more: Any) -> None:
        super().__init__(**more)
        self.verifier = Webhook(secret)
        self.deduplicates = deduplicates
        self.runs: list[str] = []
        self._seen: dict[str, str] = {}

    def answer(self, request: Recorded) -> Reply:
        try:
            told = self.verifier.verify(request.body, dict(request.headers))
        except WebhookVerificationError as error:
            return Reply(401, {"error": str(error)})
        with self._lock:
            token = request.headers["webhook-id"]
            if not (self.deduplicates and token in self._seen):
                self.runs.append(told["subject"])
                self._seen[token] = f"run-{len(self.runs)}"
            return Reply(202, {"job_id": self._seen[token]})
