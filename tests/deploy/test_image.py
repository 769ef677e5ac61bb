"""A real build of the Dockerfile by buildah, on a base by debootstrap.

It needs root, and no registry or daemon. `make image` runs it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dolt_watch import __version__
from dolt_watch.engines.address import ServerAddress
from tests.deploy.test_dockerfile import MOST, ROOT, beads_address
from tests.support.served import healthz
from tests.support.servers import give_up, missing, tool

__all__ = ["beads_address"]
# debootstrap and two builds take long.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SUITES = {(3, 11): "bookworm", (3, 13): "trixie"}
"""Python version → the Debian release with that version, for which pip resolves packages."""
BASE = "localhost/base:debian"
IMAGE = "localhost/dolt_watch:test"


class Buildah:
    """A buildah with its own store, which is deleted with the test's folder."""

    def __init__(self, folder: Path) -> None:
        self.options = [
            "--storage-driver",
            "vfs",
            "--root",
            str(folder / "store"),
            "--runroot",
            str(folder / "run"),
        ]
        self.container = ""

    def __call__(self, *arguments: str | Path) -> str:
        command = ["buildah", *self.options, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (
            f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
        return done.stdout.strip()

    def command(self, *command: str, env: dict[str, str] | None = None) -> list[str]:
        given = [f"--env={name}={value}" for name, value in (env or {}).items()]
        return [
            "buildah",
            *self.options,
            "run",
            "--isolation",
            "chroot",
            *given,
            self.container,
            "--",
            *command,
        ]

    def run(self, *command: str, env: dict[str, str] | None = None) -> str:
        return self(*self.command(*command, env=env)[1 + len(self.options) :])


def base(folder: Path, suite: str) -> Path:
    """Return Debian with Python as an archive, kept in .work for the next run."""
    archive = ROOT / ".work" / f"base-{suite}.tar"
    if not archive.exists():
        root = folder / "root"
        packages = "--include=python3,python3-venv,ca-certificates"
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", packages, suite, str(root)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        archive.parent.mkdir(exist_ok=True)
        unfinished = archive.with_suffix(".unfinished")
        subprocess.run(["tar", "-C", str(root), "-cf", str(unfinished), "."], check=True)
        unfinished.rename(archive)
        shutil.rmtree(root)
    return archive


def wheels(folder: Path) -> Path:
    """Return all packages that the build needs from an index, which it can't access itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    wanted += project["project"]["optional-dependencies"]["service"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary=:all:",
        "--dest",
        str(folder / "wheels"),
    ]
    subprocess.run([*command, *wanted], check=True)
    (folder / "pip.conf").write_text(
        "[global]\nno-index = true\nfind-links = /wheels\n", encoding="utf-8"
    )
    return folder / "wheels"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Yield the built image. ``run`` runs a command in a container."""
    for name in ("buildah", "debootstrap"):
        tool(name, f"Debian: apt install {name}")
    suite = SUITES.get(sys.version_info[:2], "")
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    wants = {
        "debootstrap and buildah's chroot isolation need root": os.geteuid() == 0,
        f"no Debian has Python {python}, for which the wheels would be fetched": suite,
    }
    for why, there in wants.items():
        if not there:
            give_up(missing(os.environ, why))
    folder = tmp_path_factory.mktemp("image")
    buildah = Buildah(folder)
    buildah.container = buildah("from", "scratch")
    buildah("add", buildah.container, base(folder, suite), "/")
    buildah("commit", "--rm", buildah.container, BASE)
    buildah(
        "bud",
        "--isolation",
        "chroot",
        "--pull-never",
        "--build-arg",
        f"BASE={BASE}",
        "--build-arg",
        "REVISION=abc123",
        "--volume",
        f"{wheels(folder)}:/wheels:ro",
        "--volume",
        f"{folder / 'pip.conf'}:/etc/pip.conf:ro",
        "--tag",
        IMAGE,
        ROOT,
    )
    buildah.container = buildah("from", "--pull-never", IMAGE)
    yield buildah
    buildah("rm", "--all")
    shutil.rmtree(folder)


def test_it_runs_as_the_user_of_the_pods(image: Buildah) -> None:
    assert image.run("dolt_watch", "--version") == f"dolt_watch {__version__}"
    assert image.run("id", "-u") == image.run("id", "-g") == "10001"


def test_only_tmp_can_be_written(image: Buildah) -> None:
    tried = (
        "for each in / /opt/dolt_watch /opt/dolt_watch/bin /workspace /tmp; do test -w $each &&"
        " echo $each; done; true"
    )
    assert image.run("sh", "-c", tried) == "/tmp"


def test_what_it_says_of_itself(image: Buildah) -> None:
    config = json.loads(image("inspect", "--type", "image", "--format", "{{.Config}}", IMAGE))[
        "config"
    ]
    assert (config["User"], config["Entrypoint"], config["WorkingDir"]) == (
        "10001:10001",
        ["dolt_watch"],
        "/workspace",
    )
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in config["Labels"].items()
    }
    assert (labels["title"], labels["version"], labels["revision"], labels["base.name"]) == (
        "dolt_watch",
        __version__,
        "abc123",
        BASE,
    )


def test_what_it_adds_to_the_base(image: Buildah) -> None:
    manifest = json.loads(image("inspect", "--type", "image", "--format", "{{.Manifest}}", IMAGE))
    _, *added = (layer["size"] for layer in manifest["layers"])
    assert 0 < sum(added) <= MOST


def test_no_compiler_no_cache_nothing_left_of_the_build(image: Buildah) -> None:
    found = image.run(
        "sh",
        "-c",
        "command -v cc gcc make; ls -d /src /dist /opt/build /wheels /tmp/* 2>/dev/null; true",
    )
    assert found == ""
    assert not re.search(r"\bpip\b", image.run("ls", "/opt/dolt_watch/bin"))


def test_it_ticks(image: Buildah, beads_address: ServerAddress) -> None:
    env = {
        "DOLT_WATCH_DATABASE": beads_address.url,
        "DOLT_WATCH_PASSWORD": beads_address.password,
        "BEADBOARD_URL": "http://127.0.0.1:9",
    }
    assert "migrated: " in image.run("dolt_watch", "init", env=env)
    assert "no eligible beads" in image.run("dolt_watch", "tick", env=env)


def test_it_stays_up_and_is_asked_whether_it_lives(image: Buildah, tmp_path: Path) -> None:
    env = {
        "DOLT_WATCH_DATABASE": "dolt://u@127.0.0.1:1/beads",
        "BEADBOARD_URL": "http://127.0.0.1:9",
    }
    # The chroot shares the network of this machine.
    command = image.command("dolt_watch", "run", "--port", "9464", env=env)
    assert healthz(command, tmp_path, dict(os.environ)) == (200, "ok\n")
