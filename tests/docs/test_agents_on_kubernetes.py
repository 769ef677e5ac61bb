"""The page on agents as Jobs and its files in examples/kubernetes contain valid values."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml

from dolt_watch.config import load
from dolt_watch.targets.kubernetes.job_template import JobTemplate
from dolt_watch.targets.kubernetes.manifest import complete_job
from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.kubernetes.target import KubernetesTarget
from dolt_watch.testing import make_task

PAGE = Path(__file__).parents[2] / "docs/recipes/agents-on-kubernetes.md"
EXAMPLES = Path(__file__).parents[2] / "examples/kubernetes"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", PAGE.read_text("utf-8"), re.M | re.S)
    return [re.sub(f"(?m)^{indent}", "", text) for indent, text in found]


def test_the_settings_open_a_target(tmp_path: Path) -> None:
    [text] = blocks("toml")
    (tmp_path / "dolt_watch.toml").write_text(text, "utf-8")
    environment = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    settings = load({"database": "dolt://root@127.0.0.1/x"}, environment, tmp_path)
    found = settings.targets["cluster"]
    assert isinstance(found, KubernetesSettings)
    assert found.command[2] == 'claude -p "$DOLT_WATCH_PROMPT" --permission-mode acceptEdits'
    KubernetesTarget(found, environment).close()
    assert tomllib.loads(text)["rules"]["agent"]["target"] == "cluster"


def test_the_job_template_is_one_and_makes_a_valid_job() -> None:
    text = (EXAMPLES / "job.yaml").read_text("utf-8")
    task = make_task("bd-7", title="say 'hi'")
    manifest = JobTemplate(text, "job.yaml").render(task, "t")
    job = complete_job(manifest, KubernetesSettings("k"), task, "t", "prompt")
    kubernetes_validate.validate(job, "1.32", strict=True)
    assert job["metadata"]["annotations"]["example.com/title"] == "say 'hi'"


def test_the_other_objects_are_valid() -> None:
    [overlay] = blocks("yaml")
    assert yaml.safe_load(overlay)["kind"] == "Kustomization"
    objects = list(yaml.safe_load_all((EXAMPLES / "limits.yaml").read_text("utf-8")))
    assert [each["kind"] for each in objects] == ["ResourceQuota", "NetworkPolicy"]
    for each in objects:
        kubernetes_validate.validate(each, "1.32", strict=True)


def test_the_page_links_to_each_file() -> None:
    text = PAGE.read_text("utf-8")
    names = [file.name for file in EXAMPLES.iterdir()]
    assert len(names) == 2
    assert [name for name in names if f"(../../examples/kubernetes/{name})" not in text] == []
