"""``make release VERSION=1.2.3``: set the version in all files that contain it.

The changelog gets a heading. Nothing is published.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = "dolt_watch/__init__.py"
VERSION = r"(\d+\.\d+\.\d+)"
LABELLED = rf'(?:newTag|app\.kubernetes\.io/version): "{VERSION}"'

NAMED: Mapping[str, str] = {
    SOURCE: rf'__version__ = "{VERSION}"',
    "Dockerfile": rf"ARG VERSION={VERSION}",
    "cronjobs/base/kustomization.yaml": LABELLED,
    "cronjobs/overlays/service/kustomization.yaml": LABELLED,
    "cronjobs/components/agents/role.yaml": LABELLED,
    "cronjobs/components/monitoring/podmonitor.yaml": LABELLED,
    "cronjobs/components/monitoring/rules.yaml": LABELLED,
    "cronjobs/components/monitoring/service.yaml": LABELLED,
    "cronjobs/terraform/locals.tf": rf'io/version"\s*= "{VERSION}"',
    "cronjobs/README.md": rf'(?:newTag: "|dolt_watch:){VERSION}',
    "docs/recipes/kubernetes.md": rf'newTag: "{VERSION}"',
    "docs/quickstart.md": rf"(?m)^dolt_watch {VERSION}$",
}
"""File → pattern of the version in it."""

UNRELEASED = "## [Unreleased]\n"


class Refused(Exception):
    """A refused release. No file is changed."""


def named(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Yield each file with each version that it contains."""
    for name, pattern in NAMED.items():
        for version in re.findall(pattern, (root / name).read_text("utf-8")):
            yield name, version


def released(root: Path, version: str, today: date) -> Iterator[tuple[Path, str]]:
    """Yield the new text of each file.

    Raises:
        Refused: The version is invalid, or there is nothing to release.
    """
    if not re.fullmatch(VERSION, version):
        raise Refused(f"{version!r} is not a version. Use for example VERSION=1.2.3.")
    now = next(found for name, found in named(root) if name == SOURCE)
    if _numbers(version) <= _numbers(now):
        raise Refused(f"{version} is not newer than {now}, the version in {SOURCE}.")
    changelog = root / "CHANGELOG.md"
    before, heading, after = changelog.read_text("utf-8").partition(UNRELEASED)
    if not heading or not after.split("\n## ")[0].strip():
        raise Refused("CHANGELOG.md has no entries under [Unreleased].")
    yield changelog, f"{before}{heading}\n## [{version}] - {today:%Y-%m-%d}\n{after}"
    for name, pattern in NAMED.items():
        text = (root / name).read_text("utf-8")
        yield root / name, re.sub(pattern, lambda found: found[0].replace(found[1], version), text)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Set the version, and return the exit code."""
    version = arguments[0] if arguments else ""
    try:
        files = list(released(root, version, datetime.now(UTC).date()))
    except Refused as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for path, text in files:
        path.write_text(text, "utf-8")
        sys.stdout.write(f"written: {path.relative_to(root)}\n")
    sys.stdout.write(
        f"Next: make test check, then git commit -am 'Release {version}'"
        f" && git tag -a v{version} -m {version}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
