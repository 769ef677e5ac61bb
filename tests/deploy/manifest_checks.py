"""Rules for Kubernetes objects of any renderer: schema, words, references and privileges.

The schemas of the API contain fields and types. They contain no cron strings and few enumerations,
and they don't show whether a named object exists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import kubernetes_validate
from cronsim import CronSim, CronSimError

from dolt_watch.cli import COMMANDS
from tests.deploy.manifests import (
    POD,
    Manifest,
    at,
    container,
    containers,
    named,
    pod,
    template,
    with_pods,
)

SECRETS = {
    "dolt-watch": {"BEADS_DOLT_PASSWORD"},
    "beadboard-agent-service": {"api_bearer_token"},
    "dolt-watch-admin": {"BEADS_DOLT_SERVER_USER", "BEADS_DOLT_PASSWORD"},
}
"""Secrets that users create by hand (cronjobs/README.md). Each may be absent.

No rendered object contains their keys.
"""
LABELS = {"name", "instance", "version", "part-of", "managed-by"}
"""Labels ``app.kubernetes.io/…`` of every object and every pod."""
WORDS = {
    "concurrencyPolicy": {"Allow", "Forbid", "Replace"},
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "protocol": {"TCP", "UDP", "SCTP"},
    "policyTypes": {"Ingress", "Egress"},
    "scheme": {"HTTP", "HTTPS"},
    "dnsPolicy": {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"},
    "drop": {"ALL"},
}
"""Field → its allowed values in any object."""
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
LABEL = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each field with its value, at any depth."""
    for key, child in value.items() if isinstance(value, dict) else ():
        yield key, child
        yield from walk(child)
    for child in value if isinstance(value, list) else ():
        yield from walk(child)


def problems(objects: list[Manifest]) -> list[str]:
    """Return all problems as text."""
    found = [
        f"{_name(each)}: {why}"
        for each in objects
        for why in (*_schema(each), *_words(each), *_names(each))
    ]
    for each in with_pods(objects):
        checks = (_container, _probes, _references, _privileges, _policy, _metrics)
        found += [f"{_name(each)}: {why}" for check in checks for why in check(each, objects)]
    return found


def _name(manifest: Manifest) -> str:
    return f"{manifest.get('kind')} {at(manifest, 'metadata.name')}"


def _schema(manifest: Manifest) -> tuple[str, ...]:
    return _validated(json.dumps(manifest))


@cache  # Tests change one object of many.
def _validated(text: str) -> tuple[str, ...]:
    try:
        kubernetes_validate.validate(json.loads(text), "1.32", strict=True)
    except kubernetes_validate.ValidationError as error:
        return (f"schema: {'.'.join(map(str, error.path))}: {error.message}",)
    except (kubernetes_validate.SchemaNotFoundError, KeyError) as error:
        return (f"schema: no such kind: {error}",)
    return ()


def _words(manifest: Manifest) -> Iterator[str]:
    for key, value in walk(manifest):
        for word in value if isinstance(value, list) else [value]:
            if key in WORDS and word not in WORDS[key]:
                yield f"{key} is one of {sorted(WORDS[key])}, not {word!r}"
    if manifest["kind"] in POD:
        policies = {"Always"} if manifest["kind"] == "Deployment" else {"Never", "OnFailure"}
        policy = at(manifest, f"{POD[manifest['kind']]}.spec.restartPolicy") or "Always"
        if policy not in policies:
            yield f"restartPolicy is one of {sorted(policies)}, not {policy!r}"
    if manifest["kind"] == "CronJob":
        if why := _cron(at(manifest, "spec.schedule") or ""):
            yield f"schedule: {why}"
        if not at(manifest, "spec.jobTemplate.spec.activeDeadlineSeconds"):
            yield "deadline: a pod that can't start would block the schedule for ever"


def _cron(schedule: str) -> str:
    if len(schedule.split()) != 5:
        # cronsim accepts a sixth field for seconds, but Kubernetes refuses it.
        return f"five fields, not {schedule!r}"
    try:
        next(CronSim(schedule, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        return f"{error or 'never'}: {schedule!r}"
    return ""


def _names(manifest: Manifest) -> Iterator[str]:
    # The names of a CronJob's pods have eleven additional characters.
    most = {"CronJob": 52}.get(manifest["kind"], 63)
    if (
        not re.fullmatch(
            r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name := at(manifest, "metadata.name") or ""
        )
        or len(name) > most
    ):
        yield f"no name of at most {most} characters: {name!r}"
    places = {
        "metadata.labels",
        *([f"{POD[kind]}.metadata.labels"] if (kind := manifest["kind"]) in POD else ()),
    }
    for place in sorted(places):
        here = {key.removeprefix("app.kubernetes.io/") for key in at(manifest, place) or ()}
        yield from (f"labels: {place} lacks {each}" for each in sorted(LABELS - here))
    for key, labels in walk(manifest):
        if key in {"labels", "matchLabels"}:
            yield from (
                f"no label value: {each!r}"
                for each in labels.values()
                if not re.fullmatch(LABEL, str(each))
            )


def _container(manifest: Manifest, _: list[Manifest]) -> Iterator[str]:
    for one in containers(manifest):
        yield from _one_container(one)
    if len({one.get("image") for one in containers(manifest)}) > 1:
        yield "image: the init container has another one"


def _one_container(one: Manifest) -> Iterator[str]:
    tag = re.fullmatch(
        r"[^:@\s]+(?::\d+/[^:@\s]+)?(?::([\w.-]+)|@sha256:[0-9a-f]{64})", one.get("image") or ""
    )
    if not tag or tag[1] == "latest":
        yield f"image has a version, not {one.get('image')!r}"
    command = (one.get("args") or [""])[0]
    if command not in COMMANDS:
        yield f"no such command of dolt_watch: {command!r}"
    names = [each.get("name", "") for each in one.get("env", [])]
    yield from (
        f"env: no name: {each!r}" for each in names if not re.fullmatch(r"[A-Za-z_]\w*", each)
    )
    yield from (f"env: twice: {each}" for each in sorted(set(names)) if names.count(each) > 1)
    for each in one.get("env", []):
        if ("value" in each) == ("valueFrom" in each):
            yield f"env: {each.get('name')} has a value or a source"
    asked, limit = at(one, "resources.requests") or {}, at(one, "resources.limits") or {}
    yield from (
        f"resources: no request of {each}" for each in ("cpu", "memory") if each not in asked
    )
    yield from (f"resources: no limit of {each}" for each in ("memory",) if each not in limit)
    sizes = {
        (kind, key): _quantity(value)
        for kind, part in (("requests", asked), ("limits", limit))
        for key, value in part.items()
    }
    yield from (
        f"resources: no quantity: {'.'.join(key)}" for key, value in sizes.items() if value is None
    )
    for key in {*asked} & {*limit}:
        if (sizes["requests", key] or 0) > (sizes["limits", key] or 0):
            yield f"resources: more {key} is asked for than allowed"


def _quantity(text: Any) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m|k|M|G|Ki|Mi|Gi|)", str(text))
    return float(match[1]) * UNITS[match[2]] if match else None


def _probes(manifest: Manifest, _: list[Manifest]) -> Iterator[str]:
    one = container(manifest)
    ports = {each.get("name") for each in one.get("ports", [])}
    probes = {key: value for key, value in one.items() if key.endswith("Probe")}
    if manifest["kind"] == "Deployment" and {*probes} != {
        "startupProbe",
        "livenessProbe",
        "readinessProbe",
    }:
        yield "probe: a pod that stays up has one of startup, one of liveness and one of readiness"
    for key, probe in probes.items():
        if len({*probe} & {"httpGet", "tcpSocket", "exec", "grpc"}) != 1:
            yield f"probe: {key} asks in exactly one way"
        if (port := at(probe, "httpGet.port")) not in ports:
            yield f"probe: {key} asks port {port!r}, which there is not"
        if not str(at(probe, "httpGet.path")).startswith("/"):
            yield f"probe: {key} has no path"
        numbers = {name: value for name, value in probe.items() if isinstance(value, int)}
        yield from (
            f"probe: {key}.{name} is {value}"
            for name, value in numbers.items()
            if value < (name != "initialDelaySeconds")
        )
        if probe.get("timeoutSeconds", 1) > probe.get("periodSeconds", 10):
            yield f"probe: {key} waits longer than its period"


def _references(manifest: Manifest, objects: list[Manifest]) -> Iterator[str]:
    spec = pod(manifest)
    if spec.get("serviceAccountName") not in named(objects, "ServiceAccount"):
        yield f"no such ServiceAccount: {spec.get('serviceAccountName')!r}"
    spaces = {at(each, "metadata.namespace") for each in objects}
    if len(spaces) != 1:
        yield f"namespace: all in one, not {sorted(map(str, spaces))}"
    volumes = {each["name"]: each for each in spec.get("volumes", [])}
    mounts = [each["name"] for one in containers(manifest) for each in one.get("volumeMounts", [])]
    yield from (f"no such volume: {each!r}" for each in mounts if each not in volumes)
    yield from (f"volume without a mount: {each!r}" for each in volumes if each not in mounts)
    for volume in volumes.values():
        if config := volume.get("configMap"):
            data = at(named(objects, "ConfigMap").get(config.get("name")), "data")
            if data is None:
                yield f"no such ConfigMap: {config.get('name')!r}"
            else:
                yield from (
                    f"no such key of the ConfigMap: {item['key']!r}"
                    for item in config["items"]
                    if item["key"] not in data
                )
    for one in containers(manifest):
        yield from _secrets(one)
    labels = at(template(manifest), "metadata.labels") or {}
    if (
        manifest["kind"] == "Deployment"
        and not (at(manifest, "spec.selector.matchLabels") or {"": ""}).items() <= labels.items()
    ):
        yield "selector: it does not match the pods' own labels"


def _secrets(one: Manifest) -> Iterator[str]:
    keys = [ref for each in one.get("env", []) if (ref := at(each, "valueFrom.secretKeyRef"))]
    for ref in keys:
        if ref.get("key") not in SECRETS.get(ref.get("name"), ()):
            yield f"no such key of a Secret: {ref.get('name')}.{ref.get('key')}"
    whole = [each.get("secretRef") or {} for each in one.get("envFrom", [])]
    for ref in whole:
        if ref.get("name") not in SECRETS:
            yield f"no such Secret: {ref.get('name')}"
    for ref in (*keys, *whole):
        if ref.get("optional") is not True:
            yield f"the Secret {ref.get('name')} is optional"


def _privileges(manifest: Manifest, objects: list[Manifest]) -> Iterator[str]:
    spec, of_pod = pod(manifest), pod(manifest).get("securityContext") or {}
    account = named(objects, "ServiceAccount").get(spec.get("serviceAccountName"), {})
    # Pods need a token only with the component for agents, whose Role has their permissions.
    needs_token = bool(named(objects, "Role"))
    if (
        spec.get("automountServiceAccountToken") is not needs_token
        or account.get("automountServiceAccountToken") is not False
    ):
        yield "privileges: a token of Kubernetes is mounted"
    if (
        of_pod.get("runAsNonRoot") is not True
        or not of_pod.get("runAsUser")
        or not of_pod.get("runAsGroup")
    ):
        yield "privileges: it may run as root"
    if at(of_pod, "seccompProfile.type") != "RuntimeDefault":
        yield "privileges: seccomp is not RuntimeDefault"
    for one in containers(manifest):
        mine = one.get("securityContext") or {}
        if mine != {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }:
            yield f"privileges: the container's securityContext: {mine}"
    yield from (
        f"privileges: {each}" for each in ("hostNetwork", "hostPID", "hostIPC") if spec.get(each)
    )
    writable = {
        each["name"]: each["mountPath"]
        for one in containers(manifest)
        for each in one.get("volumeMounts", [])
        if not each.get("readOnly")
    }
    if writable != {"tmp": "/tmp"} or any(
        "emptyDir" not in each for each in spec["volumes"] if each["name"] in writable
    ):
        yield f"privileges: only /tmp may be written, an emptyDir, not {sorted(writable.values())}"
    others = [
        key
        for each in spec["volumes"]
        for key in each
        if key not in {"name", "configMap", "emptyDir"}
    ]
    yield from (f"privileges: a volume of kind {each}" for each in others)


def _policy(manifest: Manifest, objects: list[Manifest]) -> Iterator[str]:
    labels = at(template(manifest), "metadata.labels") or {}
    meant = [
        each
        for each in named(objects, "NetworkPolicy").values()
        if (at(each, "spec.podSelector.matchLabels") or {}).items() <= labels.items()
    ]
    if not any({"Ingress", "Egress"} <= {*(at(each, "spec.policyTypes") or ())} for each in meant):
        yield "network: no policy for its traffic in both directions"
    ports = {each.get("name") for each in container(manifest).get("ports", [])}
    for rule in (
        rule
        for each in meant
        for rule in (*(at(each, "spec.egress") or ()), *(at(each, "spec.ingress") or ()))
    ):
        if (
            not (rule.get("to") or rule.get("from"))
            or not rule.get("ports")
            or any(not peer for peer in rule.get("to", []))
        ):
            yield f"network: a rule for everybody or for every port: {rule}"
    if manifest["kind"] == "Deployment":
        asked = {
            port.get("port")
            for each in meant
            for rule in at(each, "spec.ingress") or ()
            for port in rule["ports"]
        }
        yield from (f"network: no such port: {each!r}" for each in asked - ports)


def _metrics(manifest: Manifest, _: list[Manifest]) -> Iterator[str]:
    notes, one = at(template(manifest), "metadata.annotations") or {}, container(manifest)
    listens = next(
        (
            args[1]
            for args in zip(one["args"], one["args"][1:], strict=False)
            if args[0] == "--port"
        ),
        None,
    )
    ports = [
        str(each.get("containerPort"))
        for each in one.get("ports", [])
        if each.get("name") == "metrics"
    ]
    if (
        [notes["prometheus.io/port"]] * 2 != [*ports, listens]
        if "prometheus.io/port" in notes
        else listens or ports
    ):
        yield f"metrics: --port {listens}, the container's {ports} and the annotation are one"
