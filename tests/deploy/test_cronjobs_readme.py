"""The instructions of cronjobs/README.md work as written."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from textwrap import dedent

import hcl2
import pytest
import yaml

from dolt_watch import __version__
from tests.deploy.manifest_checks import SECRETS, problems
from tests.deploy.manifests import CRONJOBS, at, container, named, overlay, render, with_pods
from tests.deploy.terraform_module import Module

TEXT = (CRONJOBS / "README.md").read_text(encoding="utf-8")


def block(language: str, word: str) -> str:
    """Return the one example in that language that contains the word."""
    (found,) = (
        dedent(each)
        for each in re.findall(rf"^ *```{language}\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE)
        if word in each
    )
    return str(found)


@pytest.mark.parametrize(
    ("resource", "off"),
    [("../../base", False), ("../service", False), ("../../base", True), ("../service", True)],
)
def test_the_overlay(resource: str, off: bool, tmp_path: Path) -> None:
    written = yaml.safe_load(block("yaml", "kind: Kustomization")) | {
        "resources": [resource],
        "namespace": "elsewhere",
    }
    if off:
        (more,) = re.findall(r"`(components: .*?suspended.*?)`", TEXT)
        written |= yaml.safe_load(more)
    shutil.copytree(CRONJOBS, tmp_path / "cronjobs")
    mine = tmp_path / "cronjobs/overlays/yours"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(yaml.safe_dump(written), encoding="utf-8")
    (mine / "metadata.json").write_text('{"dolt_database": "mine"}', encoding="utf-8")
    (mine / "dolt_watch.toml").write_text('settle = "5s"\n', encoding="utf-8")
    objects = render(str(mine))
    assert problems(objects) == []
    assert {at(each, "metadata.namespace") for each in objects} == {"elsewhere"}
    assert {container(each)["image"] for each in with_pods(objects)} == {
        f"your-registry/dolt_watch:{__version__}"
    }
    (config,) = named(objects, "ConfigMap").values()
    assert config["data"] == {
        "metadata.json": '{"dolt_database": "mine"}',
        "dolt_watch.toml": 'settle = "5s"\n',
    }
    assert {at(each, "spec.suspend") for each in named(objects, "CronJob").values()} <= {off}
    assert {at(each, "spec.replicas") for each in named(objects, "Deployment").values()} <= {
        0 if off else 2
    }


@pytest.mark.parametrize(
    ("word", "path", "value"),
    [
        ("imagePullSecrets", "imagePullSecrets.0.name", "registry-credentials"),
        ("192.0.2.10", "spec.egress.4.to.0.ipBlock.cidr", "192.0.2.10/32"),
        ("namePrefix", "metadata.name", "second-dolt-watch"),
    ],
)
def test_additions_to_the_overlay(word: str, path: str, value: str, tmp_path: Path) -> None:
    written = yaml.safe_load(block("yaml", word))
    objects = render(overlay(tmp_path, resources=["../service"], **written))
    assert value in [at(each, path) for each in objects]
    if word == "namePrefix":
        assert problems(objects) == []


def test_the_patch_that_throws_the_kill_switch_at_once() -> None:
    (jobs, patch) = re.findall(r"`kubectl \S+ \S+ patch cronjob (.*?) -p '(.*?)'`", TEXT)[0]
    assert jobs.split() == sorted(named(render("base"), "CronJob"))
    assert json.loads(patch) == {"spec": {"suspend": True}}


def test_only_the_users_overlay_is_applied() -> None:
    assert set(re.findall(r"(?:apply|delete) -k (\S+)", TEXT)) == {"cronjobs/overlays/yours"}


def test_the_terraform_examples() -> None:
    module = Module()
    (call,) = hcl2.loads(block("hcl", "project_id"))["module"]
    given = {name for name in call['"dolt_watch"'] if not name.startswith("__")} - {"source"}
    assert given <= set(module.variables)
    assert {name for name, body in module.variables.items() if "default" not in body} <= given
    there = {f"module.dolt_watch.{kind}.{name}" for kind, name, _ in module.resources()}
    moved = re.findall(r'= (module\.\S+)\["(.+)"\]', block("hcl", "moved"))
    assert {resource for resource, _ in moved} <= there
    assert {key for _, key in moved} == set(named(module.objects(), "CronJob"))


def test_each_secret_and_object_is_named() -> None:
    assert [name for name in SECRETS if f"`{name}`" not in TEXT] == []
    rows = {tuple(row) for row in re.findall(r"(?m)^\| (\w+) `([\w-]+)`.* \|.*\|$", TEXT)}
    there = {
        (each["kind"], each["metadata"]["name"])
        for mode in ("cronjobs", "service")
        for each in Module(mode=mode).objects()
    }
    assert rows == there
