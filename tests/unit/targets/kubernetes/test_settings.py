"""Settings: each mistake is an error with a fix before the first request to a cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.errors import SettingsError
from dolt_watch.targets.http_client import TransportFailure
from dolt_watch.targets.kubernetes import api
from dolt_watch.targets.kubernetes.api import find_connection
from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.kubernetes.target import KubernetesTarget

GOOD = KubernetesSettings("k", image="x", server="https://kube.example", namespace="agents")


def test_the_least_settings_are_enough() -> None:
    KubernetesTarget(GOOD, {}).close()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"server": ""}, "has no API server"),
        ({"server": "kube.example"}, "isn't an http:// or https:// URL"),
        ({"server": "https://me:pw@kube.example"}, "must not contain a user"),
        ({"server": "http://kube", "token_file": Path("t")}, "must be https:// if a token is sent"),
        ({"namespace": ""}, "has no namespace"),
        ({"namespace": "Agents/x"}, "namespace must be the name of a namespace, but is"),
        ({"installation": ""}, "installation must be a label value"),
        ({"installation": "a b"}, "installation must be a label value"),
        ({"image": ""}, "image or job_template is required"),
        ({"image": " "}, "image contains a character"),
        ({"image": "a\x00b"}, "image contains a character"),
        ({"command": ("a\x00b",)}, "command contains a NUL"),
        ({"env": {"A": "a\x00b"}}, "env contains a NUL"),
        ({"env": {"A=B": "c"}}, "a name that a variable can't have"),
        ({"env_from_secret": ("My Secret",)}, "a name that a Secret can't have"),
        ({"service_account": "-x"}, "service_account must be the name of a ServiceAccount, but is"),
        ({"requests": {"cpu": "much"}}, "requests contains a value that isn't a quantity"),
        ({"limits": {"memory": "1 Gi"}}, "limits contains a value that isn't a quantity"),
        ({"max_jobs": 0}, "max_jobs must be at least 1"),
        ({"run_timeout": timedelta(0)}, "run_timeout must be at least 1s"),
        ({"start_timeout": timedelta(days=400)}, "start_timeout must be at least 1s"),
        ({"keep_jobs": timedelta(minutes=1)}, "keep_jobs must be at least 1h"),
        ({"timeout": timedelta(0)}, "timeout must be more than 0"),
        ({"job_template": Path("job.yaml")}, "image can't be combined with job_template"),
        ({"image": "", "job_template": Path("nowhere.yaml")}, "Can't read the"),
        ({"prompt_template": Path("nowhere.j2")}, "Can't read the"),
    ],
)
def test_a_mistake_is_named_with_its_fix(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as error:
        KubernetesTarget(replace(GOOD, **changes), {})
    assert named in error.value.message
    assert error.value.where and error.value.fix
    assert "pw" not in str(error.value)


@pytest.mark.parametrize("quantity", ["1", "0.5", "500m", "1Gi", "2M", "1e3", "128Ki"])
def test_quantities_are_those_of_kubernetes(quantity: str) -> None:
    KubernetesTarget(replace(GOOD, requests={"cpu": quantity}), {}).close()


IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that replaces the ServiceAccount folder of a pod."""
    (tmp_path / "namespace").write_text("agents\n", "utf-8")
    monkeypatch.setattr(api, "SERVICE_ACCOUNT", tmp_path)
    return tmp_path


def test_in_a_cluster_everything_comes_from_the_service_account(account: Path) -> None:
    found = find_connection(KubernetesSettings("k"), IN_CLUSTER)
    assert found == api.Connection(
        "https://10.96.0.1:6443", "agents", account / "token", account / "ca.crt"
    )


def test_an_address_of_version_6_is_bracketed(account: Path) -> None:
    found = find_connection(KubernetesSettings("k"), {"KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert found.server == "https://[fd00::1]:443"


def test_the_site_tells_clusters_namespaces_and_authorities_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one.crt", tmp_path / "other.crt"
    one.write_text("one", "utf-8")
    other.write_text("other", "utf-8")
    connections = [
        api.Connection(server, namespace, None, ca_file)
        for server in ("https://10.96.0.1", "https://kube.example")
        for namespace in ("a", "b")
        for ca_file in (one, other, None)
    ]
    sites = [api.ApiClient(connection).site() for connection in connections]
    assert len(set(sites)) == len(sites)
    assert sites[0] == api.ApiClient(connections[0]).site()
    assert api.ApiClient(api.Connection("https://x", "a", None, tmp_path / "none")).site() == ""


def test_another_cluster_does_not_get_the_token_of_this_one(account: Path) -> None:
    settings = KubernetesSettings("k", server="https://other.example", namespace="there")
    found = find_connection(settings, IN_CLUSTER)
    assert (found.token_file, found.ca_file, found.namespace) == (None, None, "there")


def test_a_ca_file_without_a_certificate_sends_nothing(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    ca_file.write_text("not a certificate", "utf-8")
    client = api.ApiClient(api.Connection("https://127.0.0.1:1", "agents", None, ca_file))
    exchange = client.request("GET", "/version", timeout=1.0)
    assert exchange.failure is TransportFailure.NOT_SENT
    assert exchange.reason == f"{ca_file} can't be read: it contains no certificate"
    client.close()
