"""The tracker that a report is about, from the settings."""

from __future__ import annotations

from pathlib import PurePath

from dolt_watch.config import Settings
from dolt_watch.engines.address import FileAddress
from dolt_watch.inspection.report.view_model import Place

PLAIN_NAMES = ("beads", "dolt", "issues")
"""Names that do not tell one tracker from another."""


def place_of(settings: Settings) -> Place:
    """Return the tracker's name and the address of its database, without user and password.

    Of a file, the page shows the name only: its folder may contain the name of a user.
    """
    address = settings.address
    if isinstance(address, FileAddress):
        path = PurePath(address.path)
        folders = [part for part in path.parent.parts if not part.startswith(".") and part != "/"]
        plain = path.stem in PLAIN_NAMES and folders
        return Place(folders[-1] if plain else path.stem, path.name, settings.links)
    host = (address.socket and "local socket") or f"{address.host}:{address.port}"
    return Place(address.database_name, f"{host}/{address.database}", settings.links)
