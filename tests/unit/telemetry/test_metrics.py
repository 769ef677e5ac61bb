"""Metrics, labels and label values in the dashboard and the alerts: all exist in the code."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dolt_watch.core.model import Phase
from dolt_watch.telemetry.metrics import POSTED, Metrics

HERE = Path(__file__).resolve().parents[3] / "cronjobs" / "monitoring"
ALERTS = [
    rule
    for group in yaml.safe_load((HERE / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((HERE / "dashboard.json").read_text())
QUERIES = [rule["expr"] for rule in ALERTS] + [
    t["expr"] for panel in DASHBOARD["panels"] for t in panel["targets"]
]
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def metrics() -> dict[str, frozenset[str]]:
    """Return the labels of each metric by its Prometheus name."""
    made = Metrics()
    found = {}
    for collector in set(made.registry._collector_to_names):
        for family in collector.describe():
            for suffix in SUFFIXES[family.type]:
                labels = {*collector._labelnames, *(("le",) if suffix == "_bucket" else ())}  # type: ignore[attr-defined]
                found[family.name + suffix] = frozenset(labels)
    return found


def wrong(query: str) -> list[str]:
    """Return the names in a query that the code doesn't contain."""
    known, found = metrics(), []
    for name, selector in re.findall(r"\b(dolt_watch_\w+)(?:\{([^}]*)\})?", query):
        if name not in known:
            found.append(name)
            continue
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', selector):
            words = {
                "phase": {p.value for p in Phase},
                "outcome": set(POSTED.values()),
                "result": {"ok", "failed", "error"},
            }
            if label not in known[name] or not set(value.split("|")) <= words.get(
                label, set(value.split("|"))
            ):
                found.append(f'{label}="{value}"')
    grouped = {
        label.strip()
        for inside in re.findall(r"by \(([^)]*)\)", query)
        for label in inside.split(",")
    }
    ours = {label for labels in known.values() for label in labels}
    return found + sorted(grouped - ours - {"namespace", "job"})  # Prometheus adds these two.


def test_the_operator_gets_the_same_rules() -> None:
    component = HERE.parent / "components/monitoring/rules.yaml"
    groups = yaml.safe_load((HERE / "alerts.yaml").read_text())["groups"]
    assert yaml.safe_load(component.read_text())["spec"]["groups"] == groups


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_asks_for_what_there_is(query: str) -> None:
    assert re.search(r"dolt_watch_\w+", query)
    assert wrong(query) == []


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("sum(dolt_watch_bead)", "dolt_watch_bead"),
        ("dolt_watch_posts", "dolt_watch_posts"),
        ('dolt_watch_beads{phase="asleep"}', 'phase="asleep"'),
        ('dolt_watch_ticks_total{status="ok"}', 'status="ok"'),
        ("sum by (reason) (dolt_watch_held_beads)", "reason"),
    ],
)
def test_and_a_mistake_is_found(query: str, what: str) -> None:
    assert wrong(query) == [what]


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    asked = {name for query in QUERIES for name in re.findall(r"dolt_watch_\w+", query)}
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in metrics()} - {
        "dolt_watch_info"
    }
    assert families <= {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in asked}


def test_alerts_say_what_to_do() -> None:
    for alert in ALERTS:
        assert alert["annotations"]["summary"] and alert["annotations"]["runbook"], alert["alert"]
        assert alert["labels"]["severity"] in ("critical", "warning")
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("name", ["DoltWatchSilent", "DoltWatchNobodyLeads"])
def test_what_is_alarming_is_so_without_any_pod(name: str) -> None:
    """A comparison over absent metrics has no series, so it would never fire."""
    (alert,) = (each for each in ALERTS if each["alert"] == name)
    (metric,) = set(re.findall(r"dolt_watch_\w+", alert["expr"]))
    assert alert["expr"].endswith(f" or absent({metric})")


def test_a_pipe_stays_a_pipe_and_a_link_a_link(tmp_path: Path) -> None:
    """As root, /dev/null would become a file."""
    pipe, file, link = tmp_path / "pipe", tmp_path / "x.prom", tmp_path / "link"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        Metrics().write(str(pipe))
        assert os.read(reader, 100_000).startswith(b"# HELP dolt_watch_info")
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    link.symlink_to(file)
    Metrics().write(str(link))
    assert link.is_symlink() and file.read_text("utf-8").startswith("# HELP dolt_watch_info")
