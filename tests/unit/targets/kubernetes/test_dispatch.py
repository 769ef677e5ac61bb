"""Dispatch on a real control plane: meaning of each answer, and lost answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from dolt_watch.core.model import Verdict
from dolt_watch.core.model.target_answers import Accepted, Busy, Refused, Unknown
from dolt_watch.targets.kubernetes.names import job_name
from dolt_watch.testing import make_task
from tests import stubs
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.kubernetes import Namespace, wait_for
from tests.unit.targets.kubernetes.conftest import MakeTarget

TOKEN = "0123456789abcdef0123456789abcdef"
NAME = f"dolt-watch-{TOKEN}"


def test_a_dispatch_creates_one_job_named_by_its_token(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    assert make_target().dispatch(make_task("bd-7"), TOKEN) == Accepted(NAME)
    [job] = namespace.list_jobs()
    assert job["metadata"]["name"] == NAME
    assert job["metadata"]["labels"]["dolt-watch.dev/bead"] == "bd-7"
    spec = job["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 1800)
    assert spec["ttlSecondsAfterFinished"] == 86400


def test_the_agent_gets_the_bead_and_no_secret_through_its_text(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    secret = {"metadata": {"name": "keys"}, "stringData": {"API_KEY": "s3cret"}}
    namespace.admin.post(f"{namespace.core}/secrets", json=secret).raise_for_status()
    script = 'echo "$BEAD_ID|$BEADS_ACTOR|$DOLT_WATCH_TOKEN|$API_KEY"; echo "$DOLT_WATCH_PROMPT"'
    target = make_target(command=("sh", "-c", script), env_from_secret=("keys",))
    task = make_task("bd-7", title="costs $$5 in $(API_KEY) and $(BEAD_ID), 'quoted'")
    answer = target.dispatch(task, TOKEN)
    assert isinstance(answer, Accepted)
    wait_for(lambda: target.verdict(answer.job, None).verdict is Verdict.FINISHED)
    output = b"".join(target.logs(answer.job)).decode()
    assert output.startswith(f"bd-7|agent|{TOKEN}|s3cret\n")
    assert "Title: costs $$5 in $(API_KEY) and $(BEAD_ID), 'quoted'" in output


def test_a_token_that_is_sent_twice_is_one_job(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    target = make_target()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: target.dispatch(make_task(), TOKEN), range(8)))
    assert {type(answer) for answer in answers} == {Accepted}
    assert len(namespace.list_jobs()) == 1


@pytest.mark.parametrize("fault", [Fault.LOSE, Fault.GARBAGE, Fault.UNAVAILABLE, Fault.HANG])
def test_a_lost_answer_is_settled_by_the_name(
    make_target: MakeTarget, namespace: Namespace, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.fail("POST", fault)
    target = make_target(server=proxy.url, timeout=timedelta(seconds=2))
    assert target.dispatch(make_task(), TOKEN) == Accepted(NAME)
    assert len(namespace.list_jobs()) == 1


def test_a_request_that_was_never_carried_out_did_not_run(
    make_target: MakeTarget, namespace: Namespace, proxy: FaultProxy
) -> None:
    proxy.fail("POST", Fault.DROP)
    answer = make_target(server=proxy.url).dispatch(make_task(), TOKEN)
    assert isinstance(answer, Refused) and answer.unreachable == "target", answer
    assert answer.why.endswith(f"Job {NAME} was never created")
    assert namespace.pods() == []


def test_a_request_that_arrives_late_finds_its_name_taken(
    make_target: MakeTarget, namespace: Namespace, proxy: FaultProxy
) -> None:
    proxy.fail("POST", Fault.HOLD)
    target = make_target(server=proxy.url, timeout=timedelta(seconds=2))
    assert isinstance(target.dispatch(make_task(), TOKEN), Refused)
    proxy.release()
    [job] = namespace.list_jobs()
    assert job["spec"]["suspend"] is True
    assert namespace.pods() == []
    assert target.verdict(NAME, None).verdict is Verdict.LOST
    assert target.settle(TOKEN) == target.settle(TOKEN), "the same answer whenever it is asked"
    report = target.settle(TOKEN)
    assert (report.verdict, report.dead, report.started) == (Verdict.LOST, True, False)


def test_nothing_is_decided_while_the_server_does_not_answer(
    make_target: MakeTarget, namespace: Namespace, proxy: FaultProxy
) -> None:
    proxy.fail("POST", Fault.LOSE)
    proxy.fail("GET", Fault.DROP)
    target = make_target(server=proxy.url)
    answer = target.dispatch(make_task(), TOKEN)
    assert isinstance(answer, Unknown) and "the connection broke after sending" in answer.why
    report = target.settle(TOKEN)
    assert report.job == NAME and report.started, "later it is known"


def test_a_lost_answer_to_the_tombstone_is_asked_for(
    make_target: MakeTarget, proxy: FaultProxy
) -> None:
    proxy.fail("POST", Fault.DROP, Fault.LOSE)
    assert isinstance(make_target(server=proxy.url).dispatch(make_task(), TOKEN), Refused)


def test_settling_and_sending_at_once_never_disagree(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    target = make_target()
    for number in range(10):
        token = f"{number:032x}"
        with ThreadPoolExecutor(4) as pool:
            sent = pool.submit(target.dispatch, make_task(), token)
            asked = [pool.submit(target.settle, token) for _ in range(3)]
            reports = [each.result() for each in asked]
        accepted = isinstance(sent.result(), Accepted)
        assert {report.started for report in reports} == {accepted}
        job = namespace.get_job(job_name(token))
        assert job is not None
        assert accepted is not bool(job["spec"].get("suspend"))


def test_a_deleted_job_whose_pod_still_runs_is_not_known_to_have_ended(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    target = make_target(command=("sleep", "60"))
    target.dispatch(make_task(), TOKEN)
    wait_for(lambda: target.verdict(NAME, None).status_text == "running")
    namespace.admin.delete(f"{namespace.jobs}/{NAME}", params={"propagationPolicy": "Orphan"})
    wait_for(lambda: namespace.get_job(NAME) is None)
    assert target.verdict(NAME, None).verdict is Verdict.RUNNING
    assert target.settle(TOKEN).verdict is Verdict.UNKNOWN


def test_a_quota_on_jobs_is_busy(make_target: MakeTarget, namespace: Namespace) -> None:
    namespace.quota(jobs="1")
    target = make_target()
    assert isinstance(target.dispatch(make_task(), "a" * 32), Accepted)
    answer = target.dispatch(make_task(), "b" * 32)
    assert isinstance(answer, Busy) and "exceeded quota" in answer.why


def test_forbidden_stops_the_rule(make_target: MakeTarget, namespace: Namespace) -> None:
    namespace.revoke()
    target = make_target()
    answer = target.dispatch(make_task(), TOKEN)
    assert (
        isinstance(answer, Refused) and answer.halts_rule and "cannot create resource" in answer.why
    )
    assert target.capacity().down


def test_a_wrong_token_stops_the_rule(make_target: MakeTarget, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not-a-token", "utf-8")
    answer = make_target(token_file=wrong).dispatch(make_task(), TOKEN)
    assert isinstance(answer, Refused) and answer.halts_rule and answer.status == 401


def test_a_namespace_that_is_missing_or_goes_away_stops_the_rule(
    make_target: MakeTarget, namespace: Namespace, tmp_path: Path
) -> None:
    # Only a user with all rights sees the 404. For other users, RBAC refuses the request first.
    everywhere = tmp_path / "everywhere"
    binding = {
        "metadata": {"name": namespace.name},
        "roleRef": {
            "kind": "ClusterRole",
            "name": "cluster-admin",
            "apiGroup": "rbac.authorization.k8s.io",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "dispatcher", "namespace": namespace.name}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    namespace.admin.post(path, json=binding).raise_for_status()
    everywhere.write_text(namespace.token(), "utf-8")
    target = make_target(token_file=everywhere, namespace="no-such-namespace")
    answer = wait_for(
        lambda: (
            (found := target.dispatch(make_task(), TOKEN)).status == 404 and found
        )  # RBAC changes take a moment
    )
    assert isinstance(answer, Refused) and answer.halts_rule and "not found" in answer.why
    namespace.admin.delete(f"{path}/{namespace.name}")


@pytest.mark.parametrize(
    "change",
    [{"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, {"requests": {"speed": "1"}}],
    ids=["limit below request", "no such resource"],
)
def test_a_spec_that_the_server_refuses_is_refused(
    make_target: MakeTarget, change: dict[str, object]
) -> None:
    answer = make_target(**change).dispatch(make_task(), TOKEN)
    assert isinstance(answer, Refused) and answer.status == 422 and not answer.halts_rule


def test_a_prompt_that_no_program_can_get_is_refused_for_good(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    answer = make_target().dispatch(make_task(description="x" * 140_000), TOKEN)
    assert isinstance(answer, Refused) and answer.permanent and "DOLT_WATCH_PROMPT" in answer.why
    assert namespace.list_jobs() == []


def test_a_token_that_was_replaced_is_used_at_the_next_request(
    make_target: MakeTarget, namespace: Namespace, tmp_path: Path
) -> None:
    rotating = tmp_path / "rotating"
    rotating.write_text("expired", "utf-8")
    target = make_target(token_file=rotating)
    assert target.capacity().down
    rotating.write_text(namespace.token(), "utf-8")
    assert not target.capacity().down


def test_a_missing_token_file_means_that_nothing_was_sent(
    make_target: MakeTarget, tmp_path: Path
) -> None:
    target = make_target(token_file=tmp_path / "missing")
    answer = target.dispatch(make_task(), TOKEN)
    assert isinstance(answer, Refused) and answer.unreachable == "target" and not answer.halts_rule
    assert "missing can't be read: No such file" in answer.why
    assert target.capacity().down


def test_a_certificate_of_another_authority_is_not_accepted(
    make_target: MakeTarget, tmp_path: Path
) -> None:
    other = make_target().api.ca_file
    assert other is not None
    wrong = tmp_path / "ca.crt"
    wrong.write_bytes(Path(stubs.__file__).with_name("self_signed.pem").read_bytes())
    answer = make_target(ca_file=wrong).dispatch(make_task(), TOKEN)
    assert isinstance(answer, Refused) and "TLS failed" in answer.why
    wrong.write_bytes(other.read_bytes())
