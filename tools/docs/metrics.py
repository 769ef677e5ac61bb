"""docs/reference/metrics.md: from the registry itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dolt_watch.telemetry.metrics import Metrics
from tools.docs.reading import GENERATED, code, table

SUFFIX = {"counter": "_total", "gauge": "", "histogram": ""}
INTRO = """# Metrics

`dolt_watch run --port 9464` serves them at `/metrics`, for Prometheus. A dashboard and alerts that use them: `cronjobs/monitoring/`. A histogram has `_bucket`, `_sum` and `_count`.
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
