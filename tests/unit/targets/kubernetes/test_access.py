"""The checks of `doctor` before a bead is claimed. The tests have the rights of the component."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dolt_watch.targets.http_client import HttpResult
from dolt_watch.targets.kubernetes.access import RIGHTS, find_problems, fix_for
from dolt_watch.targets.kubernetes.api import ApiClient, Connection
from tests import stubs
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.kubernetes import Namespace, agent_rules, wait_for
from tests.support.servers import free_port
from tests.unit.targets.kubernetes.conftest import MakeTarget


def test_with_the_rights_of_the_component_nothing_is_wrong(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    assert make_target().check() == []
    assert namespace.list_jobs() == []


def test_the_component_gives_exactly_the_rights_that_are_checked() -> None:
    given = {
        (verb, group, *resource.partition("/")[::2])
        for rule in agent_rules()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == set(RIGHTS)


def test_each_missing_right_is_named(make_target: MakeTarget, namespace: Namespace) -> None:
    namespace.revoke()
    [rights, job] = make_target().check()
    listed = "create jobs, get jobs, list jobs, delete jobs, list pods, list events, get pods/log"
    assert rights[0] == f"Not allowed in the namespace {namespace.name}: {listed}"
    assert "cronjobs/components/agents" in rights[1]
    assert "cannot create resource" in job[0]


def test_a_job_that_would_be_refused_is_named(make_target: MakeTarget) -> None:
    [[message, fix]] = make_target(requests={"cpu": "2"}, limits={"cpu": "1"}).check()
    assert message.startswith("A Job would not be accepted: HTTP 422") and "requests" in message
    assert fix.startswith("Correct the field that the message names")


def test_a_pod_that_would_be_refused_is_named(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    with namespace.plane.namespace({"pod-security.kubernetes.io/enforce": "restricted"}) as strict:
        template = namespace.plane.folder / f"{strict.name}.yaml"
        template.write_text(
            "apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: "
            "[{name: agent, image: stand-in}]}}}\n",
            "utf-8",
        )
        token = namespace.plane.folder / f"{strict.name}.token"
        token.write_text(strict.token(), "utf-8")
        there = {"namespace": strict.name, "token_file": token}
        [[message, fix]] = make_target(job_template=template, image="", command=(), **there).check()
        assert message.startswith("The pod would be refused: would violate PodSecurity")
        assert "runAsNonRoot" in message and "securityContext" in fix
        assert make_target(**there).check() == []


@pytest.mark.parametrize(
    ("setting", "content", "says", "fix"),
    [
        ("token_file", None, "can't be read: No such file", "Correct token_file"),
        ("token_file", "", "can't be read: it contains no token", "Correct token_file"),
        ("token_file", "two words", "can't be read: it contains no token", "Correct token_file"),
        ("token_file", "expired", "HTTP 401", "Replace the token in "),
        ("ca_file", None, "can't be read: No such file", "Correct token_file or ca_file"),
        ("ca_file", "no PEM", "it contains no certificate", "Correct token_file or ca_file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_problem(
    make_target: MakeTarget,
    tmp_path: Path,
    setting: str,
    content: str | None,
    says: str,
    fix: str,
) -> None:
    file = tmp_path / "given"
    if content is not None:
        file.write_text(content, "utf-8")
    target = make_target(**{setting: file})
    [[message, how]] = target.check()
    assert says in message and how.startswith(fix)
    capacity = target.capacity()
    assert capacity.down and says in capacity.why, "nothing is claimed for it"


def test_a_server_that_cannot_be_reached_is_one_problem(
    make_target: MakeTarget, tmp_path: Path
) -> None:
    away = f"https://127.0.0.1:{free_port()}"
    other_ca = Path(stubs.__file__).with_name("self_signed.pem")
    for changes, says, fix in (
        ({"server": away}, "connection refused", f"Check that the API server answers at {away}"),
        ({"server": "https://no-such-host.invalid"}, "no connection", "Check that the API server"),
        ({"ca_file": other_ca}, "TLS failed", "Set ca_file"),
    ):
        target = make_target(**changes)
        [[message, how]] = target.check()
        assert says in message and how.startswith(fix)
        assert target.capacity().down and says in target.capacity().why


def test_another_server_than_kubernetes_is_one_problem(
    make_target: MakeTarget, proxy: FaultProxy
) -> None:
    proxy.always = Fault.GARBAGE
    target = make_target(server=proxy.url)
    [[message, how]] = target.check()
    assert message and how == (
        f"Correct server of the target: no Kubernetes API server answers at {proxy.url}."
    )
    assert target.capacity().down


def test_a_quota_without_room_is_a_problem_with_its_fix(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    namespace.quota(jobs="0")
    [[message, how]] = make_target().check()
    assert "exceeded quota" in message and how.startswith("Raise the ResourceQuota")


@pytest.mark.parametrize(
    ("code", "reason", "fix"),
    [
        (404, "NotFound", "`kubectl create namespace agents`"),
        (400, "BadRequest", "Correct the field"),
        (403, "Forbidden", "Add the component"),
        (500, "InternalError", "Check the API server"),
    ],
)
def test_each_answer_has_its_fix(code: int, reason: str, fix: str) -> None:
    connection = Connection("https://kube", "agents", None, None)
    body = json.dumps({"kind": "Status", "reason": reason, "message": "m"}).encode()
    assert fix_for(HttpResult(code, body=body), ApiClient(connection)).startswith(fix)
    denied = HttpResult(401, body=json.dumps({"kind": "Status", "reason": "x"}).encode())
    assert "set token_file" in fix_for(denied, ApiClient(connection))


@pytest.mark.parametrize("right", ["jobs", "pods", "events", "pods/log"])
def test_each_right_is_needed(make_target: MakeTarget, namespace: Namespace, right: str) -> None:
    """Without one resource in the Role, the check reports exactly this resource."""
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace.name}/roles/dispatcher"
    rules = [
        {**rule, "resources": [each for each in rule["resources"] if each != right]}
        for rule in agent_rules()
    ]
    kept = [rule for rule in rules if rule["resources"]]
    patch = {"rules": kept}
    headers = {"content-type": "application/merge-patch+json"}
    namespace.admin.patch(role, json=patch, headers=headers).raise_for_status()
    target = make_target()
    [problem, *_] = wait_for(lambda: list(find_problems(target.api, target.job_for, 5.0)))
    denied = problem.message.rpartition(": ")[2].split(", ")
    assert {each.split()[1] for each in denied} == {right}
