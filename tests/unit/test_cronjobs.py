"""The manifests as `kubectl kustomize` renders them: field by field what the original had, and what Kubernetes accepts."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cronsim import CronSim

from dolt_watch.cli import COMMANDS, group
from dolt_watch.engines.address import Address
from dolt_watch.look import _not_migrated
from dolt_watch.settings.loading import load
from tests.unit.manifests import (
    CRONJOBS,
    POD,
    SECRETS,
    Manifest,
    at,
    container,
    named,
    pod,
    problems,
    render,
    template,
    with_pods,
    workspace,
)

FOLDERS = ("base", "overlays/suspended", "overlays/service")
SCHEDULES = {"beads-dispatcher": ("*/2 * * * *", 2), "beads-reaper": ("*/10 * * * *", 10)}


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Manifest]]:
    return {folder: render(folder) for folder in FOLDERS}


@pytest.fixture
def base(rendered: dict[str, list[Manifest]]) -> list[Manifest]:
    return rendered["base"]


@pytest.fixture
def service(rendered: dict[str, list[Manifest]]) -> list[Manifest]:
    return rendered["overlays/service"]


@pytest.fixture(params=sorted(SCHEDULES))
def job(request: pytest.FixtureRequest, base: list[Manifest]) -> Manifest:
    """Each CronJob in turn."""
    return named(base, "CronJob")[request.param]


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_wrong(rendered: dict[str, list[Manifest]], folder: str) -> None:
    assert problems(rendered[folder]) == []


# -- as in the original ------------------------------------------------------------------------------------------


def kinds(objects: list[Manifest]) -> list[tuple[str, str]]:
    """Kind and name of each, a ConfigMap without the hash of its content."""
    return sorted((each["kind"], re.sub(r"^(dolt-watch)-\w{10}$", r"\1", each["metadata"]["name"])) for each in objects)


def test_what_there_is(base: list[Manifest], service: list[Manifest]) -> None:
    both = [
        ("ConfigMap", "dolt-watch"),
        ("Job", "dolt-watch-init"),
        ("NetworkPolicy", "dolt-watch"),
        ("ServiceAccount", "dolt-watch"),
    ]
    assert kinds(base) == sorted([*both, ("CronJob", "beads-dispatcher"), ("CronJob", "beads-reaper")])
    assert kinds(service) == sorted([*both, ("Deployment", "dolt-watch")])


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
        ("spec.jobTemplate.spec.template.spec.imagePullSecrets", [{"name": "registry-credentials"}]),
        ("spec.jobTemplate.spec.template.spec.containers.0.resources.requests", {"cpu": "50m", "memory": "128Mi"}),
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
    env = {each["name"]: each.get("value") or at(each, "valueFrom.secretKeyRef") for each in container(job)["env"]}
    assert env == {
        "HOME": "/tmp",
        "BEADBOARD_URL": "http://beadboard",
        "BEADS_DOLT_PASSWORD": {"name": "dolt-watch", "key": "BEADS_DOLT_PASSWORD", "optional": True},
        "API_BEARER_TOKEN": {"name": "beadboard-agent-service", "key": "api_bearer_token", "optional": True},
    }


def test_the_kill_switch_suspends_both_and_changes_nothing_else(rendered: dict[str, list[Manifest]]) -> None:
    suspended = deepcopy(rendered["overlays/suspended"])
    assert [each["spec"]["suspend"] for each in named(suspended, "CronJob").values()] == [True, True]
    for each in named(suspended, "CronJob").values():
        each["spec"]["suspend"] = False
    assert suspended == rendered["base"]


# -- what is mounted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["base", "overlays/service"])
def test_dolt_watch_reads_what_is_mounted(rendered: dict[str, list[Manifest]], folder: str, tmp_path: Path) -> None:
    (config,) = named(rendered[folder], "ConfigMap").values()
    metadata = json.loads(config["data"]["metadata.json"])
    for manifest in with_pods(rendered[folder]):
        env = {each["name"]: each.get("value", "from-a-secret") for each in container(manifest)["env"]}
        settings = load({}, env, workspace(manifest, config, tmp_path))
        assert isinstance(settings.address, Address)
        place = (settings.address.host, settings.address.port, settings.address.database, settings.project_id)
        assert place == tuple(
            metadata[key] for key in ("dolt_server_host", "dolt_server_port", "dolt_database", "project_id")
        )
        admin = manifest["kind"] == "Job"
        assert settings.address.user == ("from-a-secret" if admin else metadata["dolt_server_user"])
        assert settings.address.password == "from-a-secret"
        assert [rule.name for rule in settings.rules] == ["agent"]


def test_metadata_json_has_beads_keys(base: list[Manifest]) -> None:
    (config,) = named(base, "ConfigMap").values()
    assert set(json.loads(config["data"]["metadata.json"])) == {
        "database", "backend", "dolt_mode", "dolt_server_host", "dolt_server_port", "dolt_server_user", "dolt_database", "project_id",
    }  # fmt: skip


# -- init, and the service ---------------------------------------------------------------------------------------


def test_until_init_has_run_the_message_names_its_job(base: list[Manifest]) -> None:
    error = _not_migrated()
    (name,) = named(base, "Job")
    assert error.exit_code == 3
    assert f"the Job {name}" in str(error)


def test_only_init_has_the_admins_secret(base: list[Manifest], service: list[Manifest]) -> None:
    with_admin = {each["kind"] for each in with_pods([*base, *service]) if "dolt-watch-admin" in json.dumps(each)}
    assert with_admin == {"Job"}


def test_all_pods_are_alike_but_for_what_they_run(base: list[Manifest], service: list[Manifest]) -> None:
    own = {"args", "env", "ports", "livenessProbe", "readinessProbe"}
    seen = []
    for manifest in with_pods([*base, *service]):
        spec = {
            key: value
            for key, value in pod(manifest).items()
            if key not in {"restartPolicy", "terminationGracePeriodSeconds"}
        }
        spec["containers"] = [{key: value for key, value in container(manifest).items() if key not in own}]
        seen.append(spec)
    assert len(seen) == 5
    assert all(each == seen[0] for each in seen)
    environments = [container(each)["env"] for each in with_pods([*base, *service]) if each["kind"] != "Job"]
    assert all(each == environments[0] for each in environments)


def test_the_service(service: list[Manifest]) -> None:
    (deployment,) = named(service, "Deployment").values()
    assert at(deployment, "spec.replicas") == 1
    assert pod(deployment)["terminationGracePeriodSeconds"] == 30
    one = container(deployment)
    assert at(one, "livenessProbe.httpGet") == {"path": "/healthz", "port": "metrics"}
    assert at(one, "readinessProbe.httpGet") == {"path": "/readyz", "port": "metrics"}
    assert one["ports"] == [{"name": "metrics", "containerPort": 9464}]
    assert template(deployment)["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9464",
        "prometheus.io/path": "/metrics",
    }


@pytest.mark.xfail("run" not in COMMANDS, reason="this version has no `dolt_watch run` yet", strict=True)
def test_the_service_has_options_that_run_knows(service: list[Manifest]) -> None:
    (deployment,) = named(service, "Deployment").values()
    name, *options = container(deployment)["args"]
    command = group.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    command.make_context(name, options)


def test_the_readme_names_each_secret_and_object(base: list[Manifest], service: list[Manifest]) -> None:
    text = (CRONJOBS / "README.md").read_text(encoding="utf-8")
    assert [name for name in SECRETS if name not in text] == []
    assert [name for kind, name in kinds([*base, *service]) if kind not in text or name not in text] == []


# -- each mistake is found ---------------------------------------------------------------------------------------

GONE = object()


def change(objects: list[Manifest], kind: str, path: str, value: Any) -> None:
    """Sets what is at ``path`` (POD stands for the pod's template, C for its container) in every object of that kind."""
    path = path.replace("C.", "POD.spec.containers.0.").replace("POD", POD.get(kind, "POD"))
    parent, _, last = path.rpartition(".")
    changed = [each for each in objects if each["kind"] == kind]
    assert changed
    for each in changed:
        place = at(each, parent) if parent else each
        key = int(last) if isinstance(place, list) else last
        if value is GONE:
            del place[key]
        elif isinstance(place, list) and key == len(place):
            place.append(value)
        else:
            place[key] = value(place.get(key)) if callable(value) else value


ALL = ("CronJob", "Job", "Deployment")
# What is changed, in which kinds, to what, and a word of what is said about it.
MISTAKES: list[tuple[str, tuple[str, ...], Any, str]] = [
    # fields and types, by the schemas
    ("spec.shedule", ("CronJob",), "*/2 * * * *", "schema"),
    ("spec.schedule", ("CronJob",), GONE, "schema"),
    ("POD.spec.restartPolice", ALL, "Never", "schema"),
    ("C.imagePullSecrets", ALL, [], "schema"),
    ("spec.suspend", ("CronJob",), "yes", "schema"),
    ("spec.backoffLimit", ("Job",), "none", "schema"),
    ("spec.replicas", ("Deployment",), "one", "schema"),
    ("spec.selector", ("Deployment",), GONE, "schema"),
    ("C.livenessProbe.httpGet.url", ("Deployment",), "/healthz", "schema"),
    ("C.livenessProbe.intervalSeconds", ("Deployment",), 10, "schema"),
    ("C.name", ALL, GONE, "schema"),
    ("C.env.0.value", ALL, 7, "schema"),
    ("spec.egress.0.ports.0.portNumber", ("NetworkPolicy",), 53, "schema"),
    ("apiVersion", ("CronJob",), "batch/v1beta1", "schema"),
    # words and cron, by our own check
    ("spec.concurrencyPolicy", ("CronJob",), "Forbidden", "concurrencyPolicy"),
    ("POD.spec.restartPolicy", ("CronJob", "Job"), "Always", "restartPolicy"),
    ("POD.spec.restartPolicy", ("CronJob", "Job"), GONE, "restartPolicy"),
    ("POD.spec.restartPolicy", ("Deployment",), "Never", "restartPolicy"),
    ("C.imagePullPolicy", ALL, "IfMissing", "imagePullPolicy"),
    ("POD.spec.dnsPolicy", ALL, "Cluster", "dnsPolicy"),
    ("POD.spec.securityContext.seccompProfile.type", ALL, "RuntimeDefaults", "seccomp"),
    ("C.securityContext.capabilities.drop", ALL, ["all"], "drop"),
    ("C.livenessProbe.httpGet.scheme", ("Deployment",), "http", "scheme"),
    ("spec.egress.0.ports.0.protocol", ("NetworkPolicy",), "udp", "protocol"),
    ("spec.policyTypes", ("NetworkPolicy",), ["Egres"], "policyTypes"),
    *[("spec.schedule", ("CronJob",), bad, "schedule") for bad in ("*/2 * * *", "0 */2 * * * *", "61 * * * *", "@often", "", "*/2 * * * x", "0 0 30 2 *")],
    # names and quantities
    ("metadata.name", ("CronJob",), "Beads_Dispatcher", "no name"),
    ("metadata.name", ("CronJob",), "b" * 53, "no name"),
    ("POD.metadata.labels.app", ("CronJob",), "beads dispatcher", "no label value"),
    ("C.resources.limits.memory", ALL, "256MB", "no quantity"),
    ("C.resources.limits.memory", ALL, "64Mi", "more memory"),
    ("C.resources.limits.memory", ALL, GONE, "no limit"),
    ("C.resources.requests.cpu", ALL, GONE, "no request"),
    ("C.env.0.name", ALL, "HO ME", "env: no name"),
    ("C.env.0.name", ALL, "BEADS_DOLT_PASSWORD", "env: twice"),
    ("C.env.0.value", ALL, GONE, "env: HOME"),
    ("C.image", ALL, "dolt_watch", "image"),
    ("C.image", ALL, "dolt_watch:latest", "image"),
    ("C.args", ALL, ["dispach"], "no such command"),
    # what refers to something
    ("POD.spec.volumes.0.configMap.name", ALL, "dolt-watch", "no such ConfigMap"),
    ("POD.spec.volumes.0.configMap.items.0.key", ALL, "metadata.jsn", "no such key of the ConfigMap"),
    ("data", ("ConfigMap",), {"metadata.json": "{}"}, "no such key of the ConfigMap"),
    ("C.env.2.valueFrom.secretKeyRef.key", ALL, "PASSWORD", "no such key of a Secret"),
    ("C.env.2.valueFrom.secretKeyRef.name", ALL, "dolt_watch", "no such key of a Secret"),
    ("C.env.2.valueFrom.secretKeyRef.optional", ("CronJob", "Deployment"), GONE, "optional"),
    ("C.env.2.valueFrom.secretKeyRef.optional", ("Job",), True, "required"),
    ("POD.spec.serviceAccountName", ALL, "default", "no such ServiceAccount"),
    ("C.volumeMounts.0.name", ALL, "workplace", "no such volume"),
    ("C.volumeMounts.0", ALL, GONE, "nobody mounts"),
    ("metadata.namespace", ("ConfigMap",), "default", "namespace"),
    ("C.livenessProbe.httpGet.port", ("Deployment",), "metric", "there is not"),
    ("C.readinessProbe", ("Deployment",), GONE, "liveness and one of readiness"),
    ("C.readinessProbe.httpGet", ("Deployment",), GONE, "exactly one way"),
    ("C.readinessProbe.httpGet.path", ("Deployment",), "readyz", "no path"),
    ("C.livenessProbe.periodSeconds", ("Deployment",), 0, "periodSeconds is 0"),
    ("C.livenessProbe.timeoutSeconds", ("Deployment",), 60, "longer than its period"),
    ("C.ports.0.containerPort", ("Deployment",), 9465, "metrics"),
    ("C.args.4", ("Deployment",), "9465", "metrics"),
    ("POD.metadata.annotations", ("Deployment",), lambda was: was | {"prometheus.io/port": "9465"}, "metrics"),
    ("spec.selector.matchLabels", ("Deployment",), {"app": "dolt-watch"}, "selector"),
    ("POD.metadata.labels", ALL, {"app": "else"}, "network: no policy"),
    ("spec.podSelector.matchLabels", ("NetworkPolicy",), {"app": "else"}, "network: no policy"),
    ("spec.policyTypes", ("NetworkPolicy",), ["Ingress"], "network: no policy"),
    ("spec.egress.4", ("NetworkPolicy",), {}, "for everybody"),
    ("spec.egress.1.to", ("NetworkPolicy",), [{}], "for everybody"),
    ("spec.egress.1.ports", ("NetworkPolicy",), GONE, "every port"),
    # privileges
    ("automountServiceAccountToken", ("ServiceAccount",), GONE, "token of Kubernetes"),
    ("POD.spec.automountServiceAccountToken", ALL, True, "token of Kubernetes"),
    ("POD.spec.securityContext.runAsNonRoot", ALL, GONE, "root"),
    ("POD.spec.securityContext.runAsUser", ALL, 0, "root"),
    ("POD.spec.securityContext.seccompProfile", ALL, GONE, "seccomp"),
    ("POD.spec.hostNetwork", ALL, True, "hostNetwork"),
    ("C.securityContext", ALL, GONE, "securityContext"),
    ("C.securityContext.privileged", ALL, True, "securityContext"),
    ("C.securityContext.allowPrivilegeEscalation", ALL, True, "securityContext"),
    ("C.securityContext.readOnlyRootFilesystem", ALL, False, "securityContext"),
    ("C.securityContext.capabilities.add", ALL, ["NET_RAW"], "securityContext"),
    ("C.volumeMounts.0.readOnly", ALL, GONE, "only /tmp"),
    ("POD.spec.volumes.1", ALL, {"name": "tmp", "hostPath": {"path": "/tmp"}}, "hostPath"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "kind", "value", "said"),
    [
        pytest.param(path, kind, value, said, id=f"{kind}-{path}-{said}-{number}")
        for number, (path, kinds_, value, said) in enumerate(MISTAKES)
        for kind in kinds_
    ],
)
def test_a_mistake_is_found(
    base: list[Manifest], service: list[Manifest], path: str, kind: str, value: Any, said: str
) -> None:
    objects = deepcopy(service if kind in {"Deployment"} else base)
    change(objects, kind, path, value)
    assert any(said in each for each in problems(objects)), problems(objects)


@pytest.mark.parametrize("kind", ["ConfigMap", "ServiceAccount", "NetworkPolicy"])
@pytest.mark.parametrize("folder", ["base", "overlays/service"])
def test_an_object_that_is_missing_is_noticed(rendered: dict[str, list[Manifest]], folder: str, kind: str) -> None:
    assert problems([each for each in rendered[folder] if each["kind"] != kind])
