"""The recordings of real bd: where they are, and how they are read.

See ``tests/recordings/README.md``.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent / "recordings"
VARIABLE = "DOLT_WATCH_RECORDINGS"


def folders() -> list[Path]:
    """The repository's own recordings, and those of the folder that the environment names."""
    further = os.environ.get(VARIABLE)
    return [HERE, *([Path(further)] if further else [])]


def text(folder: Path, name: str) -> str:
    """A file of a recording, plain or packed by gzip. Raises FileNotFoundError."""
    plain = folder / name
    if plain.exists():
        return plain.read_text("utf-8")
    return gzip.decompress((folder / f"{name}.gz").read_bytes()).decode()


def value(folder: Path, name: str) -> Any:
    return json.loads(text(folder, name))


def steps(folder: Path) -> list[dict[str, Any]]:
    """One recorded command each:

    ``args``, ``exit``, ``stdout``, ``stderr``, ``commits``, ``uncommitted``, ``ignored``.
    """
    return [json.loads(line) for line in text(folder, "steps.jsonl").splitlines()]


def trackers() -> list[Path]:
    """Folders that hold the steps of one tracker."""
    return [
        each
        for folder in folders()
        for each in sorted(folder.iterdir())
        if (each / "steps.jsonl").exists() or (each / "steps.jsonl.gz").exists()
    ]


def graphs() -> list[Path]:
    """Files with what ``bd ready`` answered, without the suffix of a packed one."""
    found = {
        each.with_name(each.name.removesuffix(".gz"))
        for folder in folders()
        for each in (folder / "readiness").glob("*.json*")
    }
    return sorted(found)
