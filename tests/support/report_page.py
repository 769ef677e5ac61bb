"""Reads the data of a report page, as the script of the page does."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple


class PageRow(NamedTuple):
    """A bead's row on the page."""

    bead: str
    title: str
    rule: str
    state: str
    group: str
    why: str
    phases: list[str]


def data_of(page: str) -> dict[str, Any]:
    """Return the data that the page contains."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def rows_of(data: dict[str, Any]) -> dict[str, PageRow]:
    """Return the rows by bead, with the reasons that the page shows."""
    places = {
        bead: (place, len(queue))
        for queue in data["queues"].values()
        for place, bead in enumerate(queue, start=1)
    }
    found = {}
    for row in data["rows"]:
        bead, why = row[0], row[7]
        if bead in places and not why:
            place, length = places[bead]
            why = data["words"].replace("{place}", str(place)).replace("{length}", str(length))
        phases = [interval[0] for interval in row[11]]
        found[bead] = PageRow(bead, row[1], row[2], row[4], row[5], why, phases)
    return found


def figures_of(data: dict[str, Any], name: str = "all") -> dict[str, Any]:
    """Return the figures of a range."""
    return next(one for one in data["ranges"] if one["name"] == name)
