"""A correct receiver of webhooks.

The receiver verifies the signature and answers with the name of the run that it starts.
"""

from __future__ import annotations

from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

from tests.stubs.server import Recorded, Reply, StubServer

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="
OLD_SECRET = "whsec_" + "b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZC0="


class WebhookStub(StubServer):
    """A receiver of webhooks. ``runs`` contains the beads of the started runs."""

    def __init__(self, secret: str = SECRET, **more: Any) -> None:
        super().__init__(**more)
        self.verifier = Webhook(secret)
        self.runs: list[str] = []

    def answer(self, request: Recorded) -> Reply:
        try:
            told = self.verifier.verify(request.body, dict(request.headers))
        except WebhookVerificationError as error:
            return Reply(401, {"error": str(error)})
        with self._lock:
            self.runs.append(told["subject"])
            return Reply(202, {"job_id": f"run-{len(self.runs)}"})
