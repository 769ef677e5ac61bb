"""The NetworkPolicy allows the addresses that the pods need in several kinds of clusters.

Enforcement needs a network plugin, which no test has. The rules are evaluated here as the API
documents them. A peer matches with all of its selectors, and a rule with one peer and one port.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import CRONJOBS, Manifest, named, overlay, render

NAMESPACE = "beads-server"


@dataclass(frozen=True)
class Pod:
    """A peer. A pod of the host's network has only an address, as for network plugins."""

    labels: dict[str, str] = field(default_factory=dict)
    namespace: str = NAMESPACE
    address: str = "10.1.2.3"


def selects(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    if selector is None:
        return True
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    for each in selector.get("matchExpressions", ()):
        assert each["operator"] == "In"
        if labels.get(each["key"]) not in each["values"]:
            return False
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def matches(peer: dict[str, Any], pod: Pod) -> bool:
    if "ipBlock" in peer:
        return ipaddress.ip_address(pod.address) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
    spaces = {"kubernetes.io/metadata.name": pod.namespace}
    if "namespaceSelector" not in peer and pod.namespace != NAMESPACE:
        return False
    return selects(peer.get("namespaceSelector"), spaces) and selects(
        peer.get("podSelector"), pod.labels
    )


def allows(rules: list[dict[str, Any]], peers: str, pod: Pod, port: int | str, kind: str) -> bool:
    return any(
        {"port": port, "protocol": kind} in rule["ports"]
        and any(matches(peer, pod) for peer in rule[peers])
        for rule in rules
    )


def policy(objects: list[Manifest]) -> Manifest:
    (found,) = named(objects, "NetworkPolicy").values()
    return dict(found["spec"])


@pytest.fixture(scope="module", params=["alone", "with a label of its own"])
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return the policy of the service, and that of a second installation.

    kustomize adds the second one's label to each matchLabels, also to that of a peer.
    """
    if request.param == "alone":
        return policy(render("overlays/service"))
    label = {"pairs": {"app.kubernetes.io/instance": "second"}, "includeSelectors": True}
    folder = tmp_path_factory.mktemp("second")
    return policy(render(overlay(folder, resources=["../service"], labels=[label])))


DNS = {
    "CoreDNS": (Pod({"k8s-app": "kube-dns"}, "kube-system"), 53),
    "CoreDNS by its own name": (Pod({"k8s-app": "coredns"}, "kube-system"), 53),
    "NodeLocal DNS": (Pod(namespace="", address="169.254.20.10"), 53),
    "Cloud DNS of GKE": (Pod(namespace="", address="169.254.169.254"), 53),
    "OpenShift": (
        Pod({"dns.operator.openshift.io/daemonset-dns": "default"}, "openshift-dns"),
        5353,
    ),
}


@pytest.mark.parametrize("name", DNS)
@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_names_resolve(spec: Manifest, name: str, protocol: str) -> None:
    pod, port = DNS[name]
    assert allows(spec["egress"], "to", pod, port, protocol)


@pytest.mark.parametrize(
    ("pod", "port"),
    [
        (Pod({"app": "dolt"}), 3306),
        (Pod({"app": "beadboard"}), 3000),
        (Pod({"app": "claude-agent-service"}, "claude-agent"), 8080),
    ],
)
def test_the_services_are_reached(spec: Manifest, pod: Pod, port: int) -> None:
    assert allows(spec["egress"], "to", pod, port, "TCP")


@pytest.mark.parametrize(
    ("pod", "port", "protocol"),
    [
        (Pod({"app": "dolt"}, "elsewhere"), 3306, "TCP"),
        (Pod({"app": "other"}), 3306, "TCP"),
        (Pod({"app": "dolt"}), 22, "TCP"),
        # The metadata service of a cloud.
        (Pod(namespace="", address="169.254.169.254"), 80, "TCP"),
        (Pod(namespace="", address="192.0.2.1"), 53, "UDP"),
        (Pod({"k8s-app": "kube-dns"}), 53, "UDP"),
    ],
)
def test_nothing_else_is_reached(spec: Manifest, pod: Pod, port: int, protocol: str) -> None:
    assert not allows(spec["egress"], "to", pod, port, protocol)


def test_only_prometheus_reaches_the_pods(spec: Manifest) -> None:
    assert allows(spec["ingress"], "from", Pod(namespace="monitoring"), "metrics", "TCP")
    assert not allows(spec["ingress"], "from", Pod(), "metrics", "TCP")


def test_the_readme_opens_a_namespace_that_denies_ingress() -> None:
    text = (CRONJOBS / "README.md").read_text("utf-8")
    blocks = [dedent(each) for each in re.findall(r"(?ms)^ *```yaml\n(.*?)^ *```", text)]
    (given,) = [each for each in map(yaml.safe_load, blocks) if each.get("kind") == "NetworkPolicy"]
    assert selects(given["spec"]["podSelector"], {"app": "dolt"})
    for pod in render("base"):
        if pod["kind"] == "CronJob":
            template = pod["spec"]["jobTemplate"]["spec"]["template"]
            ours = Pod(template["metadata"]["labels"])
            assert allows(given["spec"]["ingress"], "from", ours, 3306, "TCP")
    assert not allows(given["spec"]["ingress"], "from", Pod(), 3306, "TCP")
