"""The Terraform module equals the kustomize output, field by field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.config import Settings
from dolt_watch.config.loader import load
from tests.deploy.manifest_checks import problems
from tests.deploy.manifests import Manifest, at, named, render, template, with_component
from tests.deploy.terraform_module import GIVEN, Module
from tests.support.matrix import chosen

LIMITS = {
    "cpu": "50m",
    "memory": "128Mi",
    "memory_limit": "256Mi",
    "cpu_limit": "1",
    "storage": "128Mi",
}
SAME: dict[str, dict[str, Any]] = {
    "base": {},
    "suspended": {"beads_dispatcher_enabled": False},
    "suspended service": {"mode": "service", "beads_dispatcher_enabled": False},
    "overlays/service": {"mode": "service"},
    "agents": {"agents_enabled": True},
    "service with agents": {"mode": "service", "agents_enabled": True},
    "limits": {"resources": LIMITS},
    "service with limits": {"mode": "service", "resources": LIMITS},
}
"""Kustomize folder → the variables with which Terraform renders the same objects."""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    own = {}
    for folder in {*SAME} - {"base", "overlays/service"}:
        component = next(each for each in ("suspended", "agents", "limits") if each in folder)
        resource = "../service" if "service" in folder else "../../base"
        own[folder] = with_component(tmp_path_factory.mktemp("own"), component, resource)
    return {folder: comparable(render(own.get(folder, folder))) for folder in SAME}


def comparable(objects: list[Manifest]) -> list[Manifest]:
    """Return the objects in one order, without intended differences."""
    objects = deepcopy(objects)
    (config,) = named(objects, "ConfigMap").values()
    # kustomize adds a hash of the content.
    text = json.dumps(objects).replace(config["metadata"]["name"], "dolt-watch")
    objects = _with_labels(json.loads(text.replace('"kustomize"', '"terraform"')))
    for each in objects:
        if each["kind"] == "ConfigMap":
            each["data"]["metadata.json"] = json.loads(each["data"]["metadata.json"])
            # The settings are compared separately.
            del each["data"]["dolt_watch.toml"]
        if each["kind"] == "PodDisruptionBudget":
            # The provider has no such field.
            each["spec"].pop("unhealthyPodEvictionPolicy", None)
        if each["kind"] == "Deployment":
            # This is the equivalent of the hash in a ConfigMap's name in kustomize.
            template(each)["metadata"]["annotations"].pop("dolt-watch/settings", None)
    return sorted(objects, key=lambda each: (each["kind"], each["metadata"]["name"]))


def _with_labels(value: Any) -> Any:
    """Replace an expression that has one value by the equal label.

    The base has no such label, because kustomize would add its labels to those of the peers.
    """
    if isinstance(value, list):
        return [_with_labels(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _with_labels(each) for key, each in value.items()}
    single = {
        each["key"]: each["values"][0]
        for each in found.get("matchExpressions") or ()
        if each["operator"] == "In" and len(each["values"]) == 1
    }
    if single and len(single) == len(found["matchExpressions"]):
        del found["matchExpressions"]
        found["matchLabels"] = {**found.get("matchLabels", {}), **single}
    return found


def differences(left: Any, right: Any, path: str = "") -> Iterator[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}):
            yield from differences(left.get(key), right.get(key), f"{path}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from differences(one, other, f"{path}.{number}")
    elif left != right or type(left) is not type(right):
        yield f"{path}: {left!r} is not {right!r}"


def settings(objects: list[Manifest], tmp_path: Path) -> Settings:
    (config,) = named(objects, "ConfigMap").values()
    (tmp_path / ".beads").mkdir(exist_ok=True)
    (tmp_path / ".beads/metadata.json").write_text(
        config["data"]["metadata.json"], encoding="utf-8"
    )
    (tmp_path / "dolt_watch.toml").write_text(config["data"]["dolt_watch.toml"], encoding="utf-8")
    return replace(load({}, {"BEADBOARD_URL": "http://beadboard"}, tmp_path), origins={})


# -- the same as kustomize --------------------


@pytest.mark.parametrize("folder", SAME)
def test_every_field_is_as_in_the_kustomize_output(
    rendered: dict[str, list[Manifest]], folder: str
) -> None:
    objects = Module(**SAME[folder]).objects()
    assert list(differences(comparable(objects), rendered[folder])) == []
    assert problems(objects) == []


def test_the_settings_are_the_same(tmp_path: Path) -> None:
    assert settings(Module().objects(), tmp_path) == settings(render("base"), tmp_path)


def test_three_pods_of_the_service(rendered: dict[str, list[Manifest]]) -> None:
    found = list(
        differences(
            comparable(Module(mode="service", replicas=3).objects()), rendered["overlays/service"]
        )
    )
    assert [each.rpartition(".")[2] for each in found] == ["replicas: 3 is not 2"]


def test_without_an_admins_secret_there_is_no_init_container() -> None:
    assert "initContainers" not in json.dumps(Module(admin_secret=None).objects())


def test_a_pull_secret_is_one_of_the_service_account() -> None:
    assert "imagePullSecrets" not in json.dumps(Module().objects())
    (account,) = named(Module(image_pull_secrets=["registry"]).objects(), "ServiceAccount").values()
    assert account["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("mode", ["cronjobs", "service"])
def test_other_names_still_fit_together(mode: str) -> None:
    given = {
        "namespace": "tracker",
        "name": "watcher",
        "dispatcher_name": "hand-out",
        "reaper_name": "take-back",
    }
    objects = Module(mode=mode, **given).objects()
    assert problems(objects) == []
    assert {each["metadata"]["namespace"] for each in objects} == {"tracker"}
    names = [each["metadata"]["name"] for each in objects]
    assert not any("dolt-watch" in name for name in names)
    labels = {each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in objects}
    assert labels == {"watcher"}


def test_text_of_the_user_stays_text(tmp_path: Path) -> None:
    when = "assignee = 'agent' AND title <> '\"\\ü<&' AND status = 'open'"
    more = (
        'settle = "5s"\nrules.agent.ready = false\n[targets.beadboard]\ntimeout ='
        ' "10s"\n[rules.other]\nmax_in_flight = 2\n'
    )
    found = settings(
        Module(when=when, stale_after="1h30m", max_in_flight=3, settings=more).objects(), tmp_path
    )
    rule, other = found.rules
    assert (rule.when, rule.stale_after.total_seconds(), rule.max_in_flight) == (when, 5400, 3)
    assert (found.settle.total_seconds(), rule.ready, other.max_in_flight) == (5, False, 2)
    assert found.targets["beadboard"].timeout.total_seconds() == 10


# -- the module alone --------------------


def test_each_variable_is_described_typed_and_used() -> None:
    module = Module()
    assert [
        name
        for name, body in module.variables.items()
        if not ({"description", "type"} <= set(body))
    ] == []
    body = re.sub(r'(?ms)^variable ".*?^}$', "", module.text)
    assert set(re.findall(r"\bvar\.(\w+)", body)) == set(module.variables)
    assert set(re.findall(r"\blocal\.(\w+)", body)) == {
        name for name in module.locals if not name.startswith("__")
    }


def test_each_validation_speaks_of_its_own_variable() -> None:
    for name, body in Module().variables.items():
        for validation in body.get("validation", ()):
            assert set(re.findall(r"\bvar\.(\w+)", validation["condition"])) == {name}


def test_outputs_are_described() -> None:
    outputs = Module().outputs
    assert set(outputs) == {"cronjobs", "deployment", "config_map", "suspended"}
    assert all("description" in body for body in outputs.values())


def test_the_kill_switch_is_on_by_default_under_the_originals_name() -> None:
    assert Module().variables["beads_dispatcher_enabled"]["default"] is True


def test_only_the_image_and_the_project_must_be_given() -> None:
    assert {name for name, body in Module().variables.items() if "default" not in body} == set(
        GIVEN
    )


def test_changes_of_dns_config_are_ignored_wherever_there_are_pods() -> None:
    where = {
        "kubernetes_cron_job_v1": "spec[0].job_template[0].spec[0].",
        "kubernetes_deployment_v1": "spec[0].",
    }
    ignored = {
        kind: at(body, "lifecycle.0.ignore_changes") for kind, _, body in Module().resources()
    }
    assert {kind: paths for kind, paths in ignored.items() if paths} == {
        kind: [f"${{{prefix}template[0].spec[0].dns_config}}"] for kind, prefix in where.items()
    }


def test_what_terraform_and_its_provider_must_be() -> None:
    (block,) = Module().blocks["terraform"]
    assert block["required_version"] == '">= 1.3"'
    assert at(block, "required_providers.0.kubernetes") == {
        "source": '"hashicorp/kubernetes"',
        "version": '">= 2.20, < 4.0"',
    }


# -- mistakes --------------------

MISTAKES = [
    ('concurrency_policy            = "Forbid"', 'concurrency_policy = "Allow"'),
    ("starting_deadline_seconds     = 60", "starting_deadline_seconds = 600"),
    ("successful_jobs_history_limit = 3", ""),
    ("failed_jobs_history_limit     = 3", "failed_jobs_history_limit = 1"),
    (
        "suspend                       = !var.beads_dispatcher_enabled",
        "suspend = var.beads_dispatcher_enabled",
    ),
    ("backoff_limit              = 0", "backoff_limit = 6"),
    ("ttl_seconds_after_finished = 600", ""),
    ('restart_policy                  = "Never"', 'restart_policy = "OnFailure"'),
    ("automount_service_account_token = false", ""),
    (
        "automount_service_account_token = var.agents_enabled",
        "automount_service_account_token = true",
    ),
    ('resources  = ["pods/log"]', 'resources = ["pods"]'),
    ('verbs      = ["create", "get", "list", "delete"]', 'verbs = ["*"]'),
    ('kind      = "Role"', 'kind = "ClusterRole"'),
    ('"192.168.0.0/16"', '"0.0.0.0/0"'),
    ("port     = 6443", "port = 8443"),
    ("enable_service_links            = false", ""),
    ('default     = "*/2 * * * *"', 'default = "*/20 * * * *"'),
    ('default     = "*/10 * * * *"', 'default = "10 * * * *"'),
    ('memory_limit = "256Mi", cpu', 'memory_limit = "512Mi", cpu'),
    ("limits   = local.limits", ""),
    ('"memory" = var.resources.memory_limit', '"memory" = var.resources.memory'),
    ('{ "cpu" = var.resources.cpu_limit }', '{ "cpu" = var.resources.cpu }'),
    ('{ "ephemeral-storage" = var.resources.storage }', '{ "storage" = var.resources.storage }'),
    ("default     = []", 'default = ["registry-credentials"]'),
    ("run_as_non_root = true", "run_as_non_root = false"),
    ("run_as_user     = 10001", "run_as_user = 0"),
    ('type = "RuntimeDefault"', 'type = "Unconfined"'),
    ("allow_privilege_escalation = false", "allow_privilege_escalation = true"),
    ("read_only_root_filesystem  = true", "read_only_root_file_system = true"),
    ('drop = ["ALL"]', 'add = ["ALL"]'),
    ("read_only  = true", "read_only = false"),
    ('size_limit = "64Mi"', ""),
    ('path = ".beads/metadata.json"', 'path = "metadata.json"'),
    ('mount_path = "/workspace"', 'mount_path = "/etc/beads-metadata"'),
    ("optional = true", "optional = false"),
    ("name     = var.token_secret.name", "name = var.password_secret.name"),
    ("init_container.value", "var.token_secret.name"),
    ('["init", "--if-needed"]', '["init"]'),
    ('["kubernetes.io/hostname", "topology.kubernetes.io/zone"]', '["kubernetes.io/hostname"]'),
    ('when_unsatisfiable = "ScheduleAnyway"', 'when_unsatisfiable = "DoNotSchedule"'),
    ("max_unavailable = 1", "max_unavailable = 2"),
    ("progress_deadline_seconds = 300", ""),
    ('"app.kubernetes.io/instance" = var.name', '"app.kubernetes.io/instance" = "else"'),
    ('"openshift-dns"', '"openshift"'),
    ('cidr = "169.254.0.0/16"', 'cidr = "169.254.20.0/24"'),
    ("port     = 5353", "port = 5354"),
    ("args              = [each.value.component]", 'args = ["dispatch"]'),
    ('image_pull_policy = "IfNotPresent"', 'image_pull_policy = "Always"'),
    ("active_deadline_seconds    = 600", ""),
    ('policy_types = ["Ingress", "Egress"]', 'policy_types = ["Egress"]'),
    ('["kube-dns", "coredns", "node-local-dns"]', '["coredns"]'),
    ("default     = 3000", "default = 80"),
    ("termination_grace_period_seconds = 30", "termination_grace_period_seconds = 5"),
    ('path = "/readyz"', 'path = "/healthz"'),
    ('path = "/startupz"', 'path = "/healthz"'),
    ("failure_threshold = 360", "failure_threshold = 3"),
    ("container_port = 9464", "container_port = 9465"),
    ('"prometheus.io/port"   = "9464"', '"prometheus.io/port" = "9465"'),
    ("= var.beads_dispatcher_enabled ? var.replicas : 0", "= 0"),
    ("dolt_server_user = var.dolt_user", 'dolt_server_user = "root"'),
    ('default     = "beads-reaper"', 'default = "reaper"'),
    ('default     = "beads-server"', 'default = "beads"'),
]


@pytest.mark.parametrize(
    "mistake",
    chosen(MISTAKES, lambda mistake: mistake in MISTAKES[::4]),
    ids=lambda mistake: f"{mistake[0]}→{mistake[1]}",
)
def test_a_difference_is_found(
    rendered: dict[str, list[Manifest]], mistake: tuple[str, str]
) -> None:
    found = [
        each
        for folder, given in SAME.items()
        for each in differences(comparable(Module(mistake, **given).objects()), rendered[folder])
    ]
    assert found


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("var.beadboard_url", "var.beadbord_url"),
        ("local.jobs", "local.job"),
        ("each.value.component", "each.value.kind"),
    ],
)
def test_a_reference_to_nothing_is_found(word: str, instead: str) -> None:
    with pytest.raises(KeyError):
        Module((word, instead)).objects()
