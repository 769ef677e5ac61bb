"""The manifests as `kubectl kustomize` renders them.

Each field equals that of the original, and Kubernetes accepts the objects.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from cronsim import CronSim

from dolt_watch.cli import group
from dolt_watch.config.loader import load
from dolt_watch.engines.address import ServerAddress
from tests.deploy.manifest_checks import problems
from tests.deploy.manifests import (
    Manifest,
    at,
    container,
    containers,
    init_container,
    named,
    pod,
    render,
    suspended,
    template,
    with_pods,
    workspace,
)

FOLDERS = ("base", "suspended", "overlays/service")
SCHEDULES = {"beads-dispatcher": ("*/2 * * * *", 2), "beads-reaper": ("*/10 * * * *", 10)}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    mine = suspended(tmp_path_factory.mktemp("mine"))
    return {folder: render(mine if folder == "suspended" else folder) for folder in FOLDERS}


@pytest.fixture
def base(rendered: dict[str, list[Manifest]]) -> list[Manifest]:
    return rendered["base"]


@pytest.fixture
def service(rendered: dict[str, list[Manifest]]) -> list[Manifest]:
    return rendered["overlays/service"]


@pytest.fixture(params=sorted(SCHEDULES))
def job(request: pytest.FixtureRequest, base: list[Manifest]) -> Manifest:
    """Return each CronJob in turn."""
    return named(base, "CronJob")[request.param]


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_wrong(rendered: dict[str, list[Manifest]], folder: str) -> None:
    assert problems(rendered[folder]) == []


# -- as in the original --------------------


def kinds(objects: list[Manifest]) -> list[tuple[str, str]]:
    """Return kind and name of each object. A ConfigMap's name omits the hash of its content."""
    return sorted(
        (each["kind"], re.sub(r"^(dolt-watch)-\w{10}$", r"\1", each["metadata"]["name"]))
        for each in objects
    )


def test_what_there_is(base: list[Manifest], service: list[Manifest]) -> None:
    both = [
        ("ConfigMap", "dolt-watch"),
        ("NetworkPolicy", "dolt-watch"),
        ("ServiceAccount", "dolt-watch"),
    ]
    assert kinds(base) == sorted(
        [*both, ("CronJob", "beads-dispatcher"), ("CronJob", "beads-reaper")]
    )
    assert kinds(service) == sorted(
        [*both, ("Deployment", "dolt-watch"), ("PodDisruptionBudget", "dolt-watch")]
    )


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_schedule(base: list[Manifest], name: str) -> None:
    schedule, minutes = SCHEDULES[name]
    assert at(named(base, "CronJob")[name], "spec.schedule") == schedule
    times = CronSim(schedule, datetime(2026, 4, 18, 22, 0, tzinfo=UTC))
    first, second = next(times), next(times)
    assert second - first == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.concurrencyPolicy", "Forbid"),
        ("spec.startingDeadlineSeconds", 60),
        ("spec.successfulJobsHistoryLimit", 3),
        ("spec.failedJobsHistoryLimit", 3),
        ("spec.suspend", False),
        ("spec.jobTemplate.spec.backoffLimit", 0),
        ("spec.jobTemplate.spec.ttlSecondsAfterFinished", 600),
        ("spec.jobTemplate.spec.template.spec.restartPolicy", "Never"),
        ("spec.jobTemplate.spec.activeDeadlineSeconds", 600),
        (
            "spec.jobTemplate.spec.template.spec.containers.0.resources.requests",
            {"cpu": "50m", "memory": "128Mi"},
        ),
        ("spec.jobTemplate.spec.template.spec.containers.0.resources.limits", {"memory": "256Mi"}),
        ("metadata.namespace", "beads-server"),
    ],
)
def test_how_it_runs_is_as_in_the_original(job: Manifest, path: str, value: Any) -> None:
    assert at(job, path) == value


def test_what_each_runs_and_is_called(base: list[Manifest]) -> None:
    jobs = named(base, "CronJob")
    assert {name: container(each)["args"] for name, each in jobs.items()} == {
        "beads-dispatcher": ["dispatch"],
        "beads-reaper": ["reap"],
    }
    assert {template(each)["metadata"]["labels"]["app"] for each in jobs.values()} == set(jobs)


def test_environment(job: Manifest) -> None:
    env = {
        each["name"]: each.get("value") or at(each, "valueFrom.secretKeyRef")
        for each in container(job)["env"]
    }
    assert env == {
        "HOME": "/tmp",
        "BEADBOARD_URL": "http://beadboard",
        "CLAUDE_AGENT_SERVICE_URL": "http://claude-agent-service.claude-agent.svc.cluster.local:8080",
        "BEADS_DOLT_PASSWORD": {
            "name": "dolt-watch",
            "key": "BEADS_DOLT_PASSWORD",
            "optional": True,
        },
        "API_BEARER_TOKEN": {
            "name": "beadboard-agent-service",
            "key": "api_bearer_token",
            "optional": True,
        },
    }


def test_the_kill_switch_suspends_both_and_changes_nothing_else(
    rendered: dict[str, list[Manifest]],
) -> None:
    off = deepcopy(rendered["suspended"])
    assert [each["spec"]["suspend"] for each in named(off, "CronJob").values()] == [True, True]
    for each in named(off, "CronJob").values():
        each["spec"]["suspend"] = False
    assert off == rendered["base"]


def test_the_kill_switch_by_itself_applies_nothing() -> None:
    """An overlay of the base would replace a user's values with placeholders."""
    assert render("components/suspended") == []


# -- mounts --------------------


@pytest.mark.parametrize("folder", ["base", "overlays/service"])
def test_dolt_watch_reads_what_is_mounted(
    rendered: dict[str, list[Manifest]], folder: str, tmp_path: Path
) -> None:
    (config,) = named(rendered[folder], "ConfigMap").values()
    metadata = json.loads(config["data"]["metadata.json"])
    for manifest in with_pods(rendered[folder]):
        env = {
            each["name"]: each.get("value", "from-a-secret") for each in container(manifest)["env"]
        }
        settings = load({}, env, workspace(manifest, config, tmp_path))
        assert isinstance(settings.address, ServerAddress)
        place = (
            settings.address.host,
            settings.address.port,
            settings.address.database,
            settings.project_id,
        )
        assert place == tuple(
            metadata[key]
            for key in ("dolt_server_host", "dolt_server_port", "dolt_database", "project_id")
        )
        assert settings.address.user == metadata["dolt_server_user"]
        assert settings.address.password == "from-a-secret"
        assert [rule.name for rule in settings.rules] == ["agent"]


def test_metadata_json_has_beads_keys(base: list[Manifest]) -> None:
    (config,) = named(base, "ConfigMap").values()
    assert set(json.loads(config["data"]["metadata.json"])) == {
        "database",
        "backend",
        "dolt_mode",
        "dolt_server_host",
        "dolt_server_port",
        "dolt_server_user",
        "dolt_server_tls",
        "dolt_database",
        "project_id",
    }


# -- init, and the service --------------------


def test_only_init_has_the_admins_secret(base: list[Manifest], service: list[Manifest]) -> None:
    for each in with_pods([*base, *service]):
        assert "dolt-watch-admin" in json.dumps(init_container(each))
        assert "dolt-watch-admin" not in json.dumps(container(each))


def test_the_admins_user_and_password_replace_those_of_the_pods(base: list[Manifest]) -> None:
    """The last source of envFrom has priority, even with an empty value. env would override it."""
    for each in with_pods(base):
        one = init_container(each)
        sources = [source["secretRef"]["name"] for source in one["envFrom"]]
        assert sources == ["dolt-watch", "dolt-watch-admin"]
        assert [entry["name"] for entry in one["env"]] == ["HOME"]


def test_no_pod_names_a_pull_secret(base: list[Manifest], service: list[Manifest]) -> None:
    """A Secret that doesn't exist causes a warning event for each pod."""
    assert "imagePullSecrets" not in json.dumps([*base, *service])


def test_all_pods_are_alike_but_for_what_they_run(
    base: list[Manifest], service: list[Manifest]
) -> None:
    own = {"args", "ports", "startupProbe", "livenessProbe", "readinessProbe"}
    seen = []
    for manifest in with_pods([*base, *service]):
        spec = {
            key: value
            for key, value in pod(manifest).items()
            if key
            not in {"restartPolicy", "terminationGracePeriodSeconds", "topologySpreadConstraints"}
        }
        spec["containers"] = [
            {key: value for key, value in container(manifest).items() if key not in own}
        ]
        seen.append(spec)
    assert len(seen) == 3
    assert all(each == seen[0] for each in seen)


def test_the_service(service: list[Manifest]) -> None:
    (deployment,) = named(service, "Deployment").values()
    assert at(deployment, "spec.replicas") == 2
    spread = pod(deployment)["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in spread] == [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    ]
    (budget,) = named(service, "PodDisruptionBudget").values()
    selector = at(deployment, "spec.selector")
    assert [at(budget, "spec.selector"), *(each["labelSelector"] for each in spread)] == [
        selector
    ] * 3
    assert pod(deployment)["terminationGracePeriodSeconds"] == 30
    one = container(deployment)
    assert at(one, "livenessProbe.httpGet") == {"path": "/healthz", "port": "metrics"}
    assert at(one, "startupProbe.httpGet") == {"path": "/startupz", "port": "metrics"}
    # Liveness isn't checked before the first rebuild has ended, which may take up to an hour.
    assert at(one, "startupProbe.periodSeconds") * at(one, "startupProbe.failureThreshold") == 3600
    assert at(one, "readinessProbe.httpGet") == {"path": "/readyz", "port": "metrics"}
    assert one["ports"] == [{"name": "metrics", "containerPort": 9464}]
    assert template(deployment)["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9464",
        "prometheus.io/path": "/metrics",
    }


def test_the_pods_have_options_that_the_commands_know(
    base: list[Manifest], service: list[Manifest]
) -> None:
    for one in [each for manifest in with_pods([*base, *service]) for each in containers(manifest)]:
        name, *options = one["args"]
        command = group.get_command(click.Context(group), name)
        assert command is not None
        command.make_context(name, options)


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_without_kubectl_nothing_passes(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no kubectl on PATH"):
        render("base")
