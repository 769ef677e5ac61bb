"""A check finds each deliberate mistake in the output of kustomize.

Without a mistake, the checks find nothing (test_cronjobs.py).
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from tests.deploy.manifest_checks import problems
from tests.deploy.manifests import POD, Manifest, at, render


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Manifest]]:
    return {folder: render(folder) for folder in ("base", "overlays/service")}


GONE = object()


def change(objects: list[Manifest], kind: str, path: str, value: Any) -> None:
    """Set the value at ``path`` in every object of that kind.

    POD is the pod's template, C its container, INIT its init container.
    """
    path = path.replace("INIT.", "POD.spec.initContainers.0.")
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


ALL = ("CronJob", "Deployment")
# The path, the kinds, the new value, and a word of the message.
MISTAKES: list[tuple[str, tuple[str, ...], Any, str]] = [
    # Fields and types, checked by the schemas.
    ("spec.shedule", ("CronJob",), "*/2 * * * *", "schema"),
    ("spec.schedule", ("CronJob",), GONE, "schema"),
    ("POD.spec.restartPolice", ALL, "Never", "schema"),
    ("C.imagePullSecrets", ALL, [], "schema"),
    ("spec.suspend", ("CronJob",), "yes", "schema"),
    ("spec.jobTemplate.spec.backoffLimit", ("CronJob",), "none", "schema"),
    ("spec.jobTemplate.spec.activeDeadlineSeconds", ("CronJob",), GONE, "deadline"),
    ("spec.replicas", ("Deployment",), "one", "schema"),
    ("spec.selector", ("Deployment",), GONE, "schema"),
    ("C.livenessProbe.httpGet.url", ("Deployment",), "/healthz", "schema"),
    ("C.livenessProbe.intervalSeconds", ("Deployment",), 10, "schema"),
    ("C.name", ALL, GONE, "schema"),
    ("C.env.0.value", ALL, 7, "schema"),
    ("spec.egress.0.ports.0.portNumber", ("NetworkPolicy",), 53, "schema"),
    ("apiVersion", ("CronJob",), "batch/v1beta1", "schema"),
    # Words and cron strings, checked by this repository.
    ("spec.concurrencyPolicy", ("CronJob",), "Forbidden", "concurrencyPolicy"),
    ("POD.spec.restartPolicy", ("CronJob",), "Always", "restartPolicy"),
    ("POD.spec.restartPolicy", ("CronJob",), GONE, "restartPolicy"),
    ("POD.spec.restartPolicy", ("Deployment",), "Never", "restartPolicy"),
    ("C.imagePullPolicy", ALL, "IfMissing", "imagePullPolicy"),
    ("POD.spec.dnsPolicy", ALL, "Cluster", "dnsPolicy"),
    ("POD.spec.securityContext.seccompProfile.type", ALL, "RuntimeDefaults", "seccomp"),
    ("C.securityContext.capabilities.drop", ALL, ["all"], "drop"),
    ("C.livenessProbe.httpGet.scheme", ("Deployment",), "http", "scheme"),
    ("spec.egress.0.ports.0.protocol", ("NetworkPolicy",), "udp", "protocol"),
    ("spec.policyTypes", ("NetworkPolicy",), ["Egres"], "policyTypes"),
    *[
        ("spec.schedule", ("CronJob",), bad, "schedule")
        for bad in (
            "*/2 * * *",
            "0 */2 * * * *",
            "61 * * * *",
            "@often",
            "",
            "*/2 * * * x",
            "0 0 30 2 *",
        )
    ],
    # Names and quantities.
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
    # References.
    ("POD.spec.volumes.0.configMap.name", ALL, "dolt-watch", "no such ConfigMap"),
    (
        "POD.spec.volumes.0.configMap.items.0.key",
        ALL,
        "metadata.jsn",
        "no such key of the ConfigMap",
    ),
    ("data", ("ConfigMap",), {"metadata.json": "{}"}, "no such key of the ConfigMap"),
    (
        "C.env.3.valueFrom.secretKeyRef.key",
        ("CronJob", "Deployment"),
        "PASSWORD",
        "no such key of a Secret",
    ),
    (
        "C.env.3.valueFrom.secretKeyRef.name",
        ("CronJob", "Deployment"),
        "dolt_watch",
        "no such key of a Secret",
    ),
    ("C.env.3.valueFrom.secretKeyRef.optional", ("CronJob", "Deployment"), GONE, "optional"),
    ("INIT.envFrom.1.secretRef.name", ALL, "dolt-watch-amin", "no such Secret"),
    ("INIT.envFrom.1.secretRef.optional", ALL, GONE, "optional"),
    ("INIT.image", ALL, "dolt_watch:0.0.9", "another one"),
    ("INIT.args", ALL, ["inti"], "no such command"),
    ("INIT.resources.limits.memory", ALL, GONE, "no limit"),
    ("INIT.securityContext.privileged", ALL, True, "securityContext"),
    ("INIT.volumeMounts.0.readOnly", ALL, GONE, "only /tmp"),
    ("POD.spec.serviceAccountName", ALL, "default", "no such ServiceAccount"),
    ("C.volumeMounts.0.name", ALL, "workplace", "no such volume"),
    ("POD.spec.volumes.2", ALL, {"name": "more", "emptyDir": {}}, "without a mount"),
    ("metadata.labels", ("ConfigMap", *ALL), {"app": "dolt-watch"}, "lacks instance"),
    ("POD.metadata.labels", ALL, {"app": "dolt-watch"}, "lacks version"),
    ("metadata.namespace", ("ConfigMap",), "default", "namespace"),
    ("C.livenessProbe.httpGet.port", ("Deployment",), "metric", "there is not"),
    ("C.readinessProbe", ("Deployment",), GONE, "liveness and one of readiness"),
    ("C.startupProbe", ("Deployment",), GONE, "one of startup"),
    ("C.readinessProbe.httpGet", ("Deployment",), GONE, "exactly one way"),
    ("C.readinessProbe.httpGet.path", ("Deployment",), "readyz", "no path"),
    ("C.livenessProbe.periodSeconds", ("Deployment",), 0, "periodSeconds is 0"),
    ("C.livenessProbe.timeoutSeconds", ("Deployment",), 60, "longer than its period"),
    ("C.ports.0.containerPort", ("Deployment",), 9465, "metrics"),
    ("C.args.4", ("Deployment",), "9465", "metrics"),
    (
        "POD.metadata.annotations",
        ("Deployment",),
        lambda was: was | {"prometheus.io/port": "9465"},
        "metrics",
    ),
    ("spec.selector.matchLabels", ("Deployment",), {"app": "dolt-watch"}, "selector"),
    ("POD.metadata.labels", ALL, {"app": "else"}, "network: no policy"),
    ("spec.podSelector.matchLabels", ("NetworkPolicy",), {"app": "else"}, "network: no policy"),
    ("spec.policyTypes", ("NetworkPolicy",), ["Ingress"], "network: no policy"),
    ("spec.egress.4", ("NetworkPolicy",), {}, "for everybody"),
    ("spec.egress.1.to", ("NetworkPolicy",), [{}], "for everybody"),
    ("spec.egress.1.ports", ("NetworkPolicy",), GONE, "every port"),
    # Privileges.
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
]


@pytest.mark.parametrize(
    ("path", "kind", "value", "said"),
    [
        pytest.param(
            *(path, kind, value, said),
            id=f"{kind}-{path}-{said}-{number}",
            marks=[pytest.mark.matrix] if number % 4 else [],
        )
        for number, (path, kinds_, value, said) in enumerate(MISTAKES)
        for kind in kinds_
    ],
)
def test_a_mistake_is_found(
    rendered: dict[str, list[Manifest]], path: str, kind: str, value: Any, said: str
) -> None:
    objects = deepcopy(rendered["overlays/service" if kind == "Deployment" else "base"])
    change(objects, kind, path, value)
    assert any(said in each for each in problems(objects)), problems(objects)


@pytest.mark.parametrize("kind", ["ConfigMap", "ServiceAccount", "NetworkPolicy"])
@pytest.mark.parametrize("folder", ["base", "overlays/service"])
def test_an_object_that_is_missing_is_noticed(
    rendered: dict[str, list[Manifest]], folder: str, kind: str
) -> None:
    assert problems([each for each in rendered[folder] if each["kind"] != kind])
