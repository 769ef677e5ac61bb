"""docs/reference/metrics.md, from the metrics registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dolt_watch.telemetry.metrics import Metrics
from tools.docs.reading import GENERATED, code, table

SUFFIX = {"counter": "_total", "gauge": "", "histogram": ""}
INTRO = """# Metrics

`dolt_watch run --port 9464` serves Prometheus metrics at `/metrics`. `cronjobs/monitoring/`
contains a dashboard and alerts. Each histogram has `_bucket`, `_sum` and `_count`.

A tick is successful if the same command would end with exit code 0: no dispatch failed, no outcome
is unknown, and the target isn't down while beads wait. Idle, busy and paused ticks are successful.
Only a successful tick sets the time of the last success, and fetches `DOLT_WATCH_PING_URL`. A
standby replica, or one that can't reach the database, reports no beads, so sums over replicas
count each bead once.
"""


def page() -> str:
    return "\n".join(
        [
            GENERATED.format(source="`dolt_watch/telemetry/metrics.py`"),
            INTRO,
            table(("metric", "type", "labels", "meaning"), _rows()),
        ]
    )


def _rows() -> Iterator[tuple[str, str, str, str]]:
    registry = Metrics().registry
    collectors: list[Any] = list(dict.fromkeys(registry._names_to_collectors.values()))
    for collector in collectors:
        labels = ", ".join(code(label) for label in collector._labelnames)
        for family in collector.describe():
            yield code(family.name + SUFFIX[family.type]), family.type, labels, family.documentation
