"""The manifests on a real control plane: applied, scheduled, rolled out, switched off, deleted.

``Installation.due`` makes their schedules due, so no test waits for the next minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.installation import (
    NEVER,
    SETTINGS,
    Installation,
    ended,
    installing,
    patiently,
)
from tests.support.kubernetes import ControlPlane
from tests.support.servers import Server

SUSPENDED = ["../../components/suspended"]


def set_value(kind: str, path: str, value: object) -> dict[str, Any]:
    """Return a patch of an overlay that sets a value."""
    text = f"- op: add\n  path: {path}\n  value: {value}\n"
    return {"target": {"kind": kind}, "patch": text}


def deadline(seconds: int) -> dict[str, Any]:
    return set_value("CronJob", "/spec/jobTemplate/spec/activeDeadlineSeconds", seconds)


def image(name: str) -> list[dict[str, str]]:
    return [{"name": "dolt_watch", "newName": name}]


@pytest.fixture
def installed(plane: ControlPlane, dolt_server: Server, tmp_path: Path) -> Iterator[Installation]:
    """Yield a namespace with the Secrets and no other objects."""
    with installing(plane, dolt_server, tmp_path) as made:
        made.grant()
        made.secrets()
        yield made


# -- the CronJobs --------------------


def test_a_scheduled_tick_dispatches_and_the_kill_switch_holds(installed: Installation) -> None:
    installed.apply(patches=[NEVER])
    again = installed.apply().splitlines()
    assert [line for line in again if not line.endswith(" unchanged")] == []
    installed.bead("bd-1")
    job = installed.tick()
    (pod,) = installed.pods("dispatch")
    assert ended(job) == "Complete", installed.log(pod)
    assert "migrated: ledger" in installed.log(pod)
    assert installed.dispatched == ["bd-1"]

    installed.kubectl(
        *("patch", "cronjob", "beads-dispatcher", "beads-reaper"),
        *("-p", '{"spec":{"suspend":true}}'),
    )
    installed.bead("bd-2")
    installed.due("beads-dispatcher")
    installed.wait_for_the_schedule()
    assert installed.jobs() == []
    installed.apply(components=SUSPENDED)
    assert [each["spec"]["suspend"] for each in installed.all("CronJob")] == [True, True, False]
    installed.apply(components=[])
    assert ended(installed.tick()) == "Complete"
    assert installed.dispatched == ["bd-1", "bd-2"]


def test_changed_settings_and_images_never_make_an_apply_fail(installed: Installation) -> None:
    installed.apply(components=SUSPENDED)
    for number in (1, 2):
        installed.settings = f"settle = '{number}s'"
        installed.apply(images=image(f"registry-{number}/dolt_watch"))
    maps = [each for each in installed.all("ConfigMap") if "dolt-watch" in each["metadata"]["name"]]
    assert len(maps) == 3
    for each in installed.all("CronJob"):
        pod = each["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        assert pod["containers"][0]["image"] == "registry-2/dolt_watch:0.1.0"
        assert pod["initContainers"][0]["image"] == "registry-2/dolt_watch:0.1.0"


@pytest.mark.parametrize(
    "suspend",
    [
        pytest.param(False, id="on schedule", marks=pytest.mark.slow),
        pytest.param(True, id="suspended"),
    ],
)
def test_a_pod_that_cannot_start_ends_by_its_deadline(
    installed: Installation, suspend: bool
) -> None:
    """Without a deadline, it would block the schedule forever or dispatch long after `suspend`."""
    installed.apply(images=image("missing/dolt_watch"), patches=[NEVER, deadline(5)])
    installed.due("beads-dispatcher")
    (pod,) = patiently(lambda: installed.pods("dispatch"))
    (job,) = installed.jobs()
    if suspend:
        installed.apply(components=SUSPENDED)
    installed.due("beads-dispatcher")
    patiently(lambda: ended(installed.namespace.get_job(job["metadata"]["name"]) or {}) == "Failed")
    patiently(lambda: installed.pods("dispatch") == [])
    assert installed.jobs()[0]["metadata"]["uid"] == job["metadata"]["uid"]
    assert not (installed.folder / pod["metadata"]["uid"]).exists()

    installed.apply(images=image("registry/dolt_watch"), components=[], patches=[NEVER])
    assert ended(installed.tick()) == "Complete"


def test_a_failed_init_runs_again(installed: Installation) -> None:
    installed.secret("dolt-watch-admin", BEADS_DOLT_SERVER_USER="root", BEADS_DOLT_PASSWORD="wrong")
    installed.apply(patches=[NEVER])
    assert ended(installed.tick()) == "Failed"
    (pod,) = installed.pods("dispatch")
    assert "Access denied" in installed.log(pod) or "access denied" in installed.log(pod)

    installed.namespace.admin.delete(f"{installed.namespace.core}/secrets/dolt-watch-admin")
    # The pods' own user may not create tables.
    assert ended(installed.tick()) == "Failed"

    installed.secrets()
    assert ended(installed.tick()) == "Complete"
    installed.namespace.admin.delete(f"{installed.namespace.core}/secrets/dolt-watch-admin")
    # The tables are up to date.
    assert ended(installed.tick("beads-reaper")) == "Complete"


# -- the service --------------------


def leaders(installed: Installation) -> list[float]:
    """Return the value of dolt_watch_leader in each pod that answers."""
    found = []
    for pod in installed.pods("run"):
        try:
            url = f"http://{pod['status']['podIP']}:9464/metrics"
            text = httpx.get(url, trust_env=False).text
        except (httpx.HTTPError, KeyError):
            continue
        (value,) = [line for line in text.splitlines() if line.startswith("dolt_watch_leader ")]
        found.append(float(value.split()[1]))
    return found


def config_maps(installed: Installation) -> set[str]:
    """Return the ConfigMaps that the service's pods read."""
    pods = installed.pods("run")
    return {each["spec"]["volumes"][0]["configMap"]["name"] for each in pods}


def evict(installed: Installation, pod: dict[str, Any]) -> int:
    name = pod["metadata"]["name"]
    body = {"metadata": {"name": name, "namespace": installed.namespace.name}}
    path = f"{installed.namespace.core}/pods/{name}/eviction"
    return installed.namespace.admin.post(path, json=body).status_code


def test_the_service_from_a_failed_rollout_to_no_replicas(installed: Installation) -> None:
    installed.secret("dolt-watch-admin", BEADS_DOLT_SERVER_USER="root", BEADS_DOLT_PASSWORD="wrong")
    short = set_value("Deployment", "/spec/progressDeadlineSeconds", 3)
    installed.apply(resources=["../service"], patches=[short])
    status = ("rollout", "status", "deployment/dolt-watch", "--timeout=120s")
    assert "exceeded its progress deadline" in installed.kubectl(*status, exit=1)
    # The Secrets are enough, because the init container tries again.
    installed.secrets()
    installed.kubectl(
        *["wait", "deployment/dolt-watch", "--for=condition=available", "--timeout=120s"]
    )
    installed.apply(patches=[])

    installed.bead("bd-1")
    patiently(lambda: installed.dispatched == ["bd-1"])
    patiently(lambda: sorted(leaders(installed)) == [0, 1])
    budget = patiently(lambda: installed.get("PodDisruptionBudget", "dolt-watch").get("status"))
    assert (budget["disruptionsAllowed"], budget["expectedPods"]) == (1, 2)
    first, second = installed.pods("run")
    assert [evict(installed, first), evict(installed, second)] == [201, 429]
    patiently(lambda: sorted(leaders(installed)) == [0, 1])

    installed.settings += "\npoll = '1s'"
    installed.apply()
    installed.kubectl(*status)
    # The former pods have ended.
    patiently(lambda: len(config_maps(installed)) == 1)
    installed.kubectl("scale", "deployment", "dolt-watch", "--replicas=0")
    patiently(lambda: installed.pods("run") == [])


# -- the namespace --------------------


def test_a_namespace_enforces_restricted(installed: Installation) -> None:
    """It refuses another pod, so the pods of these tests conform to it."""
    container = {"name": "c", "image": "i"}
    body = {"metadata": {"name": "plain"}, "spec": {"containers": [container]}}
    answer = installed.namespace.admin.post(f"{installed.namespace.core}/pods", json=body)
    assert answer.status_code == 403
    assert 'violates PodSecurity "restricted' in answer.json()["message"]


def test_a_quota_that_asks_for_limits_needs_the_component(installed: Installation) -> None:
    installed.namespace.quota(
        limits_cpu="8",
        limits_memory="8Gi",
        **{"limits.ephemeral-storage": "8Gi", "requests.ephemeral-storage": "8Gi"},
    )
    installed.apply(patches=[NEVER, deadline(2)])
    assert ended(installed.tick()) == "Failed"
    assert installed.pods("dispatch") == []
    installed.apply(components=["../../components/limits"], patches=[NEVER])
    assert ended(installed.tick()) == "Complete"
    installed.apply(resources=["../service"], patches=[])
    patiently(lambda: len(installed.pods("run")) == 2)


def test_two_installations_in_a_namespace_and_from_one_form_to_the_other(
    installed: Installation,
) -> None:
    """Nothing runs, because the installations are suspended."""
    second: dict[str, Any] = {
        "namePrefix": "second-",
        "labels": [
            {
                "pairs": {"app.kubernetes.io/instance": "second"},
                "includeSelectors": True,
                "includeTemplates": True,
            }
        ],
    }
    prune = ("-n", installed.namespace.name, "--prune", "--applyset")
    components = [*SUSPENDED, "../../components/agents"]
    secrets = installed.objects()

    def apply(name: str, form: str, **written: Any) -> set[tuple[str, str]]:
        """Return the objects of this installation, without those of the other one."""
        installed.written = {}
        installed.apply(
            *prune, f"configmaps/{name}", resources=[form], components=components, **written
        )
        return installed.objects()

    one = apply("one", "../../base")
    both = apply("two", "../../base", **second)
    assert both > one and len(both - secrets) == 2 * len(one - secrets)
    as_service = apply("two", "../service", **second)
    assert as_service > one
    assert {kind for kind, _ in as_service - both} >= {"Deployment", "PodDisruptionBudget"}
    assert {kind for kind, _ in both - as_service} == {"CronJob"}
    selectors = [each["spec"]["podSelector"] for each in installed.all("NetworkPolicy")]
    assert len({str(each) for each in selectors}) == 2
    installed.settings = "settle = '3s'"
    changed = apply("two", "../service", **second)
    maps = [{name for kind, name in each if kind == "ConfigMap"} for each in (as_service, changed)]
    assert [len(each) for each in maps] == [2 + 2, 2 + 2], "the old one is gone; two are applysets"
    assert maps[0] != maps[1]
    installed.settings = SETTINGS
    assert apply("two", "../../base", **second) == both

    for name, written in (("two", second), ("one", {})):
        installed.written = {"resources": ["../../base"], "components": components} | written
        mine = installed.write(namespace=installed.namespace.name)
        installed.kubectl("delete", "-k", str(mine))
        installed.kubectl("delete", "configmap", name)
        if name == "two":
            assert installed.objects() == one
    assert installed.objects() == secrets


def test_everything_that_monitoring_selects_exists(installed: Installation) -> None:
    """The definitions of the operator are applied. The operator doesn't run."""
    crds = Path(__file__).parent / "crds"
    for each in sorted(crds.glob("*.yaml")):
        installed.kubectl("apply", "--server-side", "-f", str(each))
    installed.kubectl(
        *("wait", "--for=condition=established", "--timeout=30s"),
        *(f"crd/{name}.monitoring.coreos.com" for name in ("podmonitors", "prometheusrules")),
    )
    installed.apply(
        resources=["../service"], components=[*SUSPENDED, "../../components/monitoring"]
    )
    assert len(installed.get("PrometheusRule", "dolt-watch")["spec"]["groups"]) == 1
    deployment = installed.get("Deployment", "dolt-watch")
    selector = deployment["spec"]["selector"]
    assert installed.get("PodMonitor", "dolt-watch")["spec"]["selector"] == selector
    assert installed.get("Service", "dolt-watch")["spec"]["selector"] == selector["matchLabels"]
    (port,) = deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    (endpoint,) = installed.get("PodMonitor", "dolt-watch")["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == port["name"]
