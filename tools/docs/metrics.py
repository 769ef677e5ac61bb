"""docs/reference/metrics.md: from the registry itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dolt_watch.telemetry.metrics import Metrics
from tools.docs.reading import GENERATED, code, table

SUFFIX = {"counter": "_total", "gauge": "", "histogram": ""}
INTRO = """# Metrics

`dolt_watch run --port 9464` serves them at `/metrics`, for Prometheus. A dashboard and alerts that
use them: `cronjobs/monitoring/`. A histogram has `_bucket`, `_sum` and `_count`.

A good tick is one that would end a command with exit 0: no dispatch failed, no outcome is unknown,
and the target is not down while beads wait; idle, busy and paused are good. After it, and
only then, the last success is set and `DOLT_WATCH_PING_URL` is fetched. A replica that stands by,
or does not reach the database, tells of no beads: sums over replicas count each bead once.
"""


def page() -> str:
    return "\n".join(
        [
            GENERATED.format(source="`dolt_watch/telemetry/metrics.py`"),
            INTRO,
            table(("metric", "type", "labels", "means"), _rows()),
        ]
    )


def _rows() -> Iterator[tuple[str, str, str, str]]:
    registry = Metrics().registry
    collectors: list[Any] = list(dict.fromkeys(registry._names_to_collectors.values()))
    for collector in collectors:
        labels = ", ".join(code(label) for label in collector._labelnames)
        for family in collector.describe():
            yield code(family.name + SUFFIX[family.type]), family.type, labels, family.documentation
