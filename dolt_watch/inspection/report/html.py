"""Writes a page: one file that asks nobody for anything.

``render(kind, data)`` takes ``templates/<kind>.html``; parts.html holds what pages share.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import orjson

from dolt_watch import __version__
from dolt_watch.core.model import LedgerEntry
from dolt_watch.inspection.report import charts, view_model
from dolt_watch.inspection.report.view_model import Lane, Report
from dolt_watch.inspection.report.what_if import page_context
from dolt_watch.inspection.status import BeadStatus
from dolt_watch.timestamps import format_span, iso

LANES = 30
"""Lanes shown at first, and with each 'show more'."""


def render(kind: str, given: Any, refresh: int = 0) -> str:
    """``kind``: one of ``KINDS``; ``given``: what it is of.

    ``refresh``: seconds after which an open page asks again where it came from; 0: it never
    does.
    """
    shown = KINDS[kind](given)
    return (
        _environment()
        .get_template(f"{kind}.html")
        .render(
            **shown | {"payload": _payload(shown["payload"])},
            refresh=refresh,
            policy=_policy(refresh),
            style=_text("page.css"),
            script=_text("page.js"),
            version=__version__,
        )
    )


def _report_context(report: Report) -> dict[str, Any]:
    until = report.now.now
    waiting = [(depth.at, depth.waiting) for depth in report.depths]
    flying = [(depth.at, depth.under_way) for depth in report.depths]
    scale = charts.scale(
        report.since, until, [value for _, value in (*waiting, *flying, *report.slots)]
    )
    return {
        "report": report,
        "now": report.now,
        "span": until - report.since,
        "numbers": view_model.headline(report),
        "waited": view_model.wait_durations(report),
        "ran": view_model.run_durations(report),
        "failures": view_model.failures(report),
        "ticks": charts.ticks(report.since, until),
        "top": scale.top,
        "height": charts.HEIGHT,
        "width": charts.WIDTH,
        "chart": {
            "waiting": charts.area(waiting, scale),
            "flying": charts.line(flying, scale),
            "slots": charts.line(report.slots, scale),
        },
        "peak": max((depth.waiting for depth in report.depths), default=0),
        "busiest": max((depth.under_way for depth in report.depths), default=0),
        "payload": {
            "since": charts.seconds(report.since),
            "now": charts.seconds(report.now.now),
            "cap": LANES,
            "lanes": [_lane(lane) for lane in report.lanes],
            "queue": [_standing(bead, report) for bead in report.now.beads],
            "audit": [_entry(entry, report) for entry in report.entries],
        },
    }


def _what_if_context(compared: Any) -> dict[str, Any]:

    return page_context(compared)


KINDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "report": _report_context,
    "whatif": _what_if_context,
}
"""Kind of page → what its template, ``templates/<kind>.html``, is given; ``payload`` is what the
script draws from.
"""


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dolt_watch.inspection.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(ago=format_span, iso=iso)
    return environment


@cache
def _text(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _policy(refresh: int) -> str:
    """Only our own script runs, and nothing is fetched: whatever a title says, and should we
    ever fail to escape it.
    """
    script = base64.b64encode(hashlib.sha256(_text("page.js").encode()).digest()).decode()
    asks = "'self'" if refresh else "'none'"
    return (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'unsafe-inline'; img-src"
        f" data:; connect-src {asks}; base-uri 'none'; form-action 'none'"
    )


def _payload(drawn: Mapping[str, Any]) -> str:
    """What the script draws lanes and tables from.

    In JSON '<' may be written as an escape, so that no text ends the element.
    """
    text = orjson.dumps(drawn).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _lane(lane: Lane) -> list[Any]:
    return [
        lane.bead,
        lane.title,
        [
            [
                one.phase,
                charts.seconds(one.begin),
                charts.seconds(one.end or one.begin),
                one.why,
                one.commit,
                one.rule,
                one.attempt,
                one.job,
            ]
            for one in lane.stretches
        ],
    ]


def _standing(bead: BeadStatus, report: Report) -> list[Any]:
    title = report.titles.get(bead.bead, "")
    return [
        bead.bead,
        title,
        bead.phase,
        charts.seconds(bead.since),
        bead.rule,
        bead.why or (bead.job and f"job {bead.job}"),
    ]


def _entry(entry: LedgerEntry, report: Report) -> list[Any]:
    commit = report.commits.get((entry.bead, entry.version), "")
    what = " ".join(part for part in (entry.job and f"job {entry.job}", entry.reason) if part)
    return [
        charts.seconds(entry.at),
        entry.bead,
        entry.version,
        entry.kind.value,
        entry.attempt,
        entry.rule,
        what,
        commit,
    ]
