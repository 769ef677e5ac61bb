"""The checks of doctor before a bead is claimed. The tests have the rights of the component."""

from __future__ import annotations

from pathlib import Path

import pytest

from dolt_watch.targets.kubernetes.access import RIGHTS, find_problems
from tests.support.kubernetes import Namespace, agent_rules, wait_for
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
    assert fix


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


def test_a_server_that_does_not_answer_is_one_problem(
    make_target: MakeTarget, tmp_path: Path
) -> None:
    [[message, _]] = make_target(token_file=tmp_path / "missing").check()
    assert "can't be read" in message


@pytest.mark.parametrize("right", ["jobs", "pods", "events", "pods/log"])
def test_each_right_is_needed(make_target: MakeTarget, namespace: Namespace, right: str) -> None:
    """Without one resource of the Role, exactly that is found."""
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
