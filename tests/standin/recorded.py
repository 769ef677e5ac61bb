"""Reader of the recordings of real bd.

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
    """Return the repository's folder of recordings, and the folder in the environment variable."""
    further = os.environ.get(VARIABLE)
    return [HERE, *([Path(further)] if further else [])]


def text(folder: Path, name: str) -> str:
    """Return the text of a file of a recording, plain or compressed. Raises FileNotFoundError."""
    plain = folder / name
    if plain.exists():
        return plain.read_text("utf-8")
    return gzip.decompress((folder / f"{name}.gz").read_bytes()).decode()


def value(folder: Path, name: str) -> Any:
    return json.loads(text(folder, name))


def steps(folder: Path) -> list[dict[str, Any]]:
    """Return the recorded commands of a folder.

    Each has ``args``, ``exit``, ``stdout``, ``stderr``, ``commits``, ``uncommitted`` and
    ``ignored``.
    """
    return [json.loads(line) for line in text(folder, "steps.jsonl").splitlines()]


def trackers() -> list[Path]:
    """Return the folders that contain the recorded commands of one tracker."""
    return [
        each
        for folder in folders()
        for each in sorted(folder.iterdir())
        if (each / "steps.jsonl").exists() or (each / "steps.jsonl.gz").exists()
    ]


def graphs() -> list[Path]:
    """Return the files with recorded answers of ``bd ready``, without the suffix ``.gz``."""
    found = {
        each.with_name(each.name.removesuffix(".gz"))
        for folder in folders()
        for each in (folder / "readiness").glob("*.json*")
    }
    return sorted(found)
