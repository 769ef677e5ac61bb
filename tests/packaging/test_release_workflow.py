"""Only the release workflow publishes, and it uses no stored secret."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dolt_watch import __version__

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / ".github/workflows/release.yml").read_text("utf-8")
WORKFLOW: dict[Any, Any] = yaml.safe_load(TEXT)
JOBS: dict[str, Any] = WORKFLOW["jobs"]


def steps(job: str) -> list[dict[str, Any]]:
    return list(JOBS[job]["steps"])


def test_a_tag_starts_it_and_nothing_else_does() -> None:
    # YAML 1.1 reads `on` as true.
    assert WORKFLOW[True] == {"push": {"tags": ["v[0-9]+.[0-9]+.[0-9]+"]}}


def test_all_tests_run_first() -> None:
    assert JOBS["test"]["uses"] == "./.github/workflows/ci.yml"
    ci = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    assert "workflow_call" in ci[True]
    assert [JOBS[name]["needs"] for name in ("build", "image", "publish")] == [
        "test",
        "build",
        ["build", "image"],
    ]


def test_each_action_is_pinned_by_its_commit() -> None:
    used = re.findall(r"uses: (\S+)(.*)", TEXT)
    for action, comment in used:
        if not action.startswith("./"):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    assert len(used) == 12


def test_each_job_has_only_its_permissions() -> None:
    assert WORKFLOW["permissions"] == {}
    assert JOBS["publish"]["permissions"] == {"id-token": "write"}
    assert JOBS["publish"]["environment"]["name"] == "pypi"
    assert {name for name, job in JOBS.items() if "packages" in job["permissions"]} == {"image"}
    assert set(re.findall(r"secrets\.(\w+)", TEXT)) == {"GITHUB_TOKEN"}


def test_wheel_sdist_and_image_are_attested_before_they_are_published() -> None:
    attested = {
        name: [step["with"] for step in steps(name) if "attest-build" in step.get("uses", "")]
        for name in ("build", "image")
    }
    assert attested["build"] == [{"subject-path": "dist/*"}]
    (image,) = attested["image"]
    assert image["subject-digest"] == "${{ steps.push.outputs.digest }}"
    assert "--group dev" in TEXT and "-m hatchling build" in TEXT


@pytest.mark.parametrize(
    ("tag", "section", "code"),
    [
        (f"v{__version__}", f"## [{__version__}] - 2026-01-01\n", 0),
        (f"v{__version__}", "", 1),
        ("v99.0.0", "## [99.0.0] - 2026-01-01\n", 1),
    ],
)
def test_the_tag_must_be_the_version(tag: str, section: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "dolt_watch").mkdir()
    text = (ROOT / "dolt_watch/__init__.py").read_text("utf-8")
    (tmp_path / "dolt_watch/__init__.py").write_text(text, "utf-8")
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{section}", "utf-8")
    (command,) = [
        step["run"] for step in steps("build") if step.get("name", "").startswith("The tag")
    ]
    env = {"PATH": os.environ["PATH"], "GITHUB_REF_NAME": tag}
    done = subprocess.run(["bash", "-ec", command], cwd=tmp_path, env=env, capture_output=True)
    assert done.returncode == code
