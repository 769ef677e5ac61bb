"""Helpers that run ``doctor`` and apply its fixes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from tests.acceptance.conftest import Watch
from tests.stubs.agent_service import AgentServiceStub


class Told(NamedTuple):
    level: str
    says: str
    fix: str | None


class Examined(NamedTuple):
    code: int
    checks: list[tuple[str, Told]]

    def of(self, name: str) -> list[Told]:
        return [told for check, told in self.checks if check == name]

    def worst(self, name: str) -> Told:
        return max(self.of(name), key=lambda told: ("ok", "warning", "failure").index(told.level))

    @property
    def troubled(self) -> set[str]:
        return {check for check, told in self.checks if told.level != "ok"}


def doctor(watch: Watch, *arguments: str, env: Mapping[str, str] | None = None) -> Examined:
    """Run ``doctor`` and return its checks.

    BeadBoard has a claude-agent-service, unless ``env`` overrides it.
    """
    with AgentServiceStub() as service:
        known = {"CLAUDE_AGENT_SERVICE_URL": service.url, **(env or {})}
        ran = watch.command("doctor", "--format", "json", *arguments, env=known)
    assert ran.stderr == "", ran
    tree = json.loads(ran.stdout)
    assert tree["exit_code"] == ran.code
    for check in tree["checks"]:
        assert bool(check["fix"]) == (check["level"] != "ok"), check
    return Examined(
        ran.code, [(c["check"], Told(c["level"], c["says"], c["fix"])) for c in tree["checks"]]
    )


def mend(watch: Watch, told: Told) -> None:
    """Run the SQL of a fix as an administrator."""
    assert told.fix is not None
    statements = re.sub(r"^As an administrator: |   \(.*\)$", "", told.fix)
    watch.server.sql(
        *(each for each in statements.split(";") if each.strip()), database=watch.bd.database
    )
