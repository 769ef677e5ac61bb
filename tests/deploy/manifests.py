"""The manifests as `kubectl kustomize` renders them, and paths in them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from tests.support.servers import tool

CRONJOBS = Path(__file__).parents[2] / "cronjobs"
POD = {
    "CronJob": "spec.jobTemplate.spec.template",
    "Deployment": "spec.template",
}
"""Kind → path of its pod template."""
Manifest = dict[str, Any]


def suspended(folder: Path) -> Path:
    """Create a user's overlay in ``folder``: the base with the kill switch."""
    return with_component(folder, "suspended")


def with_component(folder: Path, component: str, resource: str = "../../base") -> Path:
    """Create a user's overlay in ``folder``: the resource with one of the components."""
    return overlay(folder, resources=[resource], components=[f"../../components/{component}"])


def overlay(folder: Path, **written: Any) -> Path:
    """Create a user's overlay in ``folder``, next to a copy of cronjobs/."""
    if not (folder / "cronjobs").exists():
        shutil.copytree(CRONJOBS, folder / "cronjobs")
    mine = folder / "cronjobs/overlays/mine"
    mine.mkdir(exist_ok=True)
    text = yaml.safe_dump({"namespace": "beads-server", **written})
    (mine / "kustomization.yaml").write_text(text, encoding="utf-8")
    return mine


def render(folder: str | Path) -> list[Manifest]:
    command = [tool("kubectl"), "kustomize", str(CRONJOBS / folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def at(value: Any, path: str) -> Any:
    """Return the value at a path, for example 'spec.template.spec.containers.0', or None."""
    for step in path.split("."):
        try:
            value = value[int(step) if isinstance(value, list) else step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def named(objects: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in objects if each.get("kind") == kind}


def template(manifest: Manifest) -> Manifest:
    found: Manifest = at(manifest, POD[manifest["kind"]])
    return found


def pod(manifest: Manifest) -> Manifest:
    spec: Manifest = template(manifest)["spec"]
    return spec


def container(manifest: Manifest) -> Manifest:
    found: Manifest
    (found,) = pod(manifest)["containers"]
    return found


def init_container(manifest: Manifest) -> Manifest:
    found: Manifest
    (found,) = pod(manifest)["initContainers"]
    return found


def containers(manifest: Manifest) -> list[Manifest]:
    """Return the container, and the init container if there is one."""
    return [*pod(manifest)["containers"], *pod(manifest).get("initContainers", ())]


def with_pods(objects: list[Manifest]) -> list[Manifest]:
    return [
        each
        for each in objects
        if each.get("kind") in POD and at(each, f"{POD[each['kind']]}.spec.containers.0")
    ]


def workspace(manifest: Manifest, config: Manifest, root: Path) -> Path:
    """Return the container's working directory, under ``root``."""
    volumes = {each["name"]: each for each in pod(manifest)["volumes"]}
    for mount in container(manifest)["volumeMounts"]:
        for item in at(volumes[mount["name"]], "configMap.items") or ():
            inside = PurePosixPath(mount["mountPath"], item["path"]).relative_to(
                container(manifest)["workingDir"]
            )
            file = root / inside
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(config["data"][item["key"]], encoding="utf-8")
    return root
