"""The CronJobs as `kubectl kustomize` renders them: field by field what the original had, and what Kubernetes accepts."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cronsim import CronSim

from dolt_watch.engines.address import Address
from dolt_watch.settings.loading import load

CRONJOBS = Path(__file__).parents[2] / "cronjobs"
SCHEDULES = {"beads-dispatcher": "*/2 * * * *", "beads-reaper": "*/10 * * * *"}
NAMES = sorted(SCHEDULES)

Manifest = dict[str, Any]


def render(folder: str) -> list[Manifest]:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("no kubectl on PATH to render the manifests with")
    done = subprocess.run([kubectl, "kustomize", str(CRONJOBS / folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module")
def base() -> list[Manifest]:
    return render("base")


@pytest.fixture(params=NAMES)
def job(request: pytest.FixtureRequest, base: list[Manifest]) -> Manifest:
    """Each CronJob in turn."""
    return cronjobs(base)[request.param]


@pytest.fixture
def config(base: list[Manifest]) -> Manifest:
    (found,) = (each for each in base if each["kind"] == "ConfigMap")
    return found


def cronjobs(manifests: list[Manifest]) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in manifests if each["kind"] == "CronJob"}


def pod(job: Manifest) -> Manifest:
    spec: Manifest = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return spec


def container(job: Manifest) -> Manifest:
    found: Manifest
    (found,) = pod(job)["containers"]
    return found


def test_there_are_two_cronjobs_and_their_configmap(base: list[Manifest]) -> None:
    assert sorted(each["kind"] for each in base) == ["ConfigMap", "CronJob", "CronJob"]
    assert sorted(cronjobs(base)) == NAMES


@pytest.mark.parametrize("folder", ["base", "overlays/suspended"])
def test_kubernetes_knows_every_field(folder: str) -> None:
    for manifest in render(folder):
        kubernetes_validate.validate(manifest, "1.32", strict=True)


@pytest.mark.parametrize(("name", "minutes"), [("beads-dispatcher", 2), ("beads-reaper", 10)])
def test_schedule(base: list[Manifest], name: str, minutes: int) -> None:
    schedule = cronjobs(base)[name]["spec"]["schedule"]
    assert schedule == SCHEDULES[name]
    assert len(schedule.split()) == 5  # cronsim would take a sixth for seconds, Kubernetes refuses it
    times = CronSim(schedule, datetime(2026, 4, 18, 22, 0, tzinfo=UTC))
    first, second = next(times), next(times)
    assert second - first == timedelta(minutes=minutes)


def test_how_it_runs_is_as_in_the_original(job: Manifest) -> None:
    spec = job["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] == 60
    assert spec["successfulJobsHistoryLimit"] == 3
    assert spec["failedJobsHistoryLimit"] == 3
    assert spec["suspend"] is False
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert spec["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] == 600
    assert pod(job)["restartPolicy"] == "Never"
    assert container(job)["resources"] == {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}


def test_each_runs_its_own_command(base: list[Manifest]) -> None:
    assert {name: container(job)["args"] for name, job in cronjobs(base).items()} == {
        "beads-dispatcher": ["dispatch"],
        "beads-reaper": ["reap"],
    }


def test_environment(job: Manifest) -> None:
    env = {each["name"]: each for each in container(job)["env"]}
    assert env["HOME"]["value"] == "/tmp"
    assert env["BEADBOARD_URL"]["value"].startswith("http://")
    secret = env["BEADS_DOLT_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert secret["optional"] is True
    assert "value" not in env["BEADS_DOLT_PASSWORD"]


def test_nothing_is_root_and_nothing_can_be_written_but_tmp(job: Manifest) -> None:
    of_pod, of_container = pod(job)["securityContext"], container(job)["securityContext"]
    assert of_pod["runAsNonRoot"] is True
    assert of_pod["runAsUser"] > 0
    assert of_container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {each["name"]: each for each in pod(job)["volumes"]}
    writable = [each for each in container(job)["volumeMounts"] if not each.get("readOnly")]
    assert [each["mountPath"] for each in writable] == ["/tmp"]
    assert "emptyDir" in volumes[writable[0]["name"]]


def files(job: Manifest) -> dict[str, str]:
    """Path in the container → key of the ConfigMap; all of them mounted read-only."""
    volumes = {each["name"]: each for each in pod(job)["volumes"]}
    found: dict[str, str] = {}
    for mount in container(job)["volumeMounts"]:
        source = volumes[mount["name"]].get("configMap")
        if source:
            assert mount["readOnly"] is True
            found |= {str(PurePosixPath(mount["mountPath"], item["path"])): item["key"] for item in source["items"]}
    return found


def test_metadata_json_is_mounted_where_bd_would_look(job: Manifest, config: Manifest) -> None:
    where = container(job)["workingDir"]
    assert files(job) == {
        f"{where}/.beads/metadata.json": "metadata.json",
        f"{where}/dolt_watch.toml": "dolt_watch.toml",
    }
    # The generator renames the ConfigMap by its content; the reference must follow.
    names = {each["configMap"]["name"] for each in pod(job)["volumes"] if "configMap" in each}
    assert names == {config["metadata"]["name"]}
    assert set(config["data"]) == {"metadata.json", "dolt_watch.toml"}


def test_metadata_json_has_beads_keys(config: Manifest) -> None:
    metadata = json.loads(config["data"]["metadata.json"])
    assert set(metadata) == {
        "database",
        "backend",
        "dolt_mode",
        "dolt_server_host",
        "dolt_server_port",
        "dolt_server_user",
        "dolt_database",
        "project_id",
    }
    assert metadata["dolt_mode"] == "server"
    assert isinstance(metadata["dolt_server_port"], int)


def test_dolt_watch_reads_what_is_mounted(job: Manifest, config: Manifest, tmp_path: Path) -> None:
    where = container(job)["workingDir"]
    for path, key in files(job).items():
        file = tmp_path / PurePosixPath(path).relative_to(where)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(config["data"][key], encoding="utf-8")
    env = {each["name"]: each["value"] for each in container(job)["env"] if "value" in each}
    settings = load({}, env, tmp_path)
    metadata = json.loads(config["data"]["metadata.json"])
    assert isinstance(settings.address, Address)
    assert (settings.address.host, settings.address.port) == (
        metadata["dolt_server_host"],
        metadata["dolt_server_port"],
    )
    assert settings.project_id == metadata["project_id"]
    assert settings.origins["targets.beadboard.url"] == "BEADBOARD_URL"


def test_the_kill_switch_suspends_both_and_changes_nothing_else(base: list[Manifest]) -> None:
    suspended = render("overlays/suspended")
    assert {name: each["spec"]["suspend"] for name, each in cronjobs(suspended).items()} == dict.fromkeys(NAMES, True)
    for each in cronjobs(suspended).values():
        each["spec"]["suspend"] = False
    assert suspended == base
