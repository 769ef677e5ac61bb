"""Writes a page: one file that contains all it needs.

``render(kind, given)`` takes ``templates/<kind>.html``. A page's scripts and styles are files of
``templates/``, and uPlot, which draws the charts (``templates/vendor/``, its license beside it).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import jinja2
import orjson

from dolt_watch import __version__
from dolt_watch.inspection.report.payload import payload
from dolt_watch.inspection.report.view_model import FINISHED, Report
from dolt_watch.timestamps import format_span, iso

LISTED = 100
"""Maximum number of open beads that the page lists for a browser without JavaScript."""
LIBRARY = "vendor/uPlot.js"


class _Kind(NamedTuple):
    context: Callable[[Any], dict[str, Any]]
    """Returns what the template is given; ``payload`` is the data for the script."""
    styles: tuple[str, ...]
    scripts: tuple[str, ...]


def render(
    kind: str,
    given: Any,
    refresh: int = 0,
    *,
    data: bytes | None = None,
    views: Mapping[str, Any] | None = None,
) -> str:
    """Return a page.

    Args:
        kind: 'report' or 'whatif'.
        given: The report, or the what-if that was compared.
        refresh: Seconds after which an open page asks the server for changes; 0: it never asks.
        data: The data as JSON, if the caller has it already.
        views: Bead → its conditions (``bead_view``), for a file.
    """
    what = _KINDS[kind]
    context = what.context(given)
    found = context.pop("payload")
    text = data if data is not None else orjson.dumps(found())
    scripts = _scripts(what.scripts)
    page = _environment().get_template(f"{kind}.html")
    return page.render(
        **context,
        payload=_escaped(text.decode()),
        views=_escaped(orjson.dumps(dict(views)).decode()) if views else "",
        refresh=refresh,
        policy=_policy(scripts, refresh),
        style=_joined(what.styles),
        scripts=scripts,
        version=__version__,
    )


def _report_context(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "open": [row for row in report.rows if row.group != FINISHED][:LISTED],
        "payload": lambda: payload(report),
    }


def _what_if_context(compared: Any) -> dict[str, Any]:
    # Late: the live page of `run` would otherwise load the simulation and sqlglot.
    from dolt_watch.inspection.report.what_if import page_context

    context = page_context(compared)
    data = context["payload"]
    return {**context, "payload": lambda: data}


_KINDS = {
    "report": _Kind(
        _report_context,
        ("vendor/uPlot.css", "base.css", "report.css"),
        ("common.js", "store.js", "lanes.js", "drawer.js", "report.js"),
    ),
    "whatif": _Kind(
        _what_if_context, ("vendor/uPlot.css", "base.css", "whatif.css"), ("common.js", "whatif.js")
    ),
}


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


def _joined(names: tuple[str, ...]) -> str:
    return "\n".join(_text(name) for name in names)


@cache
def _scripts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts of the script elements: the library, and the page's own files in one."""
    own = "\n".join(_text(name).replace('"use strict";\n', "", 1) for name in names)
    return (_text(LIBRARY), f'"use strict";\n{own}')


def _policy(scripts: tuple[str, ...], refresh: int) -> str:
    """Return a policy that lets only the page's own scripts run, and nothing be fetched from
    elsewhere, even if a title is ever not escaped.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    asks = "'self'" if refresh else "'none'"
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src"
        f" data:; connect-src {asks}; base-uri 'none'; form-action 'none'"
    )


def _escaped(text: str) -> str:
    """Return JSON that no text can use to end its element: '<' may be written as an escape."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
