"""The target's verdicts on Jobs of a real control plane."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from dolt_watch.core.model import JobReport, Verdict
from dolt_watch.core.model.target_answers import Accepted
from dolt_watch.targets.kubernetes import target as kubernetes_target
from dolt_watch.targets.kubernetes.logs import LogsUnavailable
from dolt_watch.targets.kubernetes.target import KubernetesTarget
from dolt_watch.testing import make_task
from tests.support.kubernetes import Namespace, wait_for
from tests.unit.targets.kubernetes.conftest import MakeTarget

TOKEN = "0123456789abcdef0123456789abcdef"
NAME = f"dolt-watch-{TOKEN}"


def started(target: KubernetesTarget, token: str = TOKEN) -> str:
    answer = target.dispatch(make_task(), token)
    assert isinstance(answer, Accepted), answer
    return answer.job


def final(target: KubernetesTarget, job: str = NAME) -> JobReport:
    """Wait until the Job is no longer running, and return its report."""
    return wait_for(
        lambda: (report := target.verdict(job, None)).verdict is not Verdict.RUNNING and report
    )


def running(target: KubernetesTarget, job: str = NAME) -> None:
    wait_for(lambda: target.verdict(job, None) == JobReport(Verdict.RUNNING, "running"))


def test_exit_0_is_completed(make_target: MakeTarget) -> None:
    target = make_target()
    started(target)
    assert final(target) == JobReport(Verdict.FINISHED, "completed", dead=True)


def test_another_exit_failed_with_the_last_output(make_target: MakeTarget) -> None:
    target = make_target(command=("sh", "-c", "echo limit reached; exit 3"))
    started(target)
    assert final(target) == JobReport(
        Verdict.FINISHED, "failed", "exit code 3: limit reached", dead=True, failed_at_start=True
    )


def test_the_deadline_ends_a_run(make_target: MakeTarget) -> None:
    target = make_target(command=("sleep", "60"), run_timeout=timedelta(seconds=1))
    started(target)
    report = final(target)
    assert (report.verdict, report.status_text) == (Verdict.FINISHED, "failed")
    assert report.error.startswith("DeadlineExceeded: Job was active longer than")
    assert report.has_ended, "its pod is gone: it may be tried again"
    assert not report.failed_at_start, "its time was over"


def test_a_run_that_ignores_the_deadline_counts_as_running_until_it_is_dead(
    make_target: MakeTarget, namespace: Namespace, tmp_path: Path
) -> None:
    """The pod's own grace period continues after the deadline."""
    script = "trap '' TERM; echo ready; sleep 5"
    template = tmp_path / "job.yaml"
    template.write_text(
        "apiVersion: batch/v1\nkind: Job\nspec:\n  activeDeadlineSeconds: 1\n  template:\n   "
        " spec:\n"
        f"      terminationGracePeriodSeconds: 2\n      containers:\n"
        f'      - {{name: agent, image: stand-in, command: [sh, -c, "{script}"]}}\n',
        "utf-8",
    )
    target = make_target(job_template=template, image="", command=())
    started(target)
    words = set()

    def is_over() -> JobReport | None:
        report = target.verdict(NAME, None)
        words.add(report.status_text)
        alive = [pod for pod in namespace.pods(NAME) if pod["status"]["phase"] == "Running"]
        if report.verdict is Verdict.FINISHED:
            assert not alive
            return report
        return None

    report = wait_for(is_over)
    assert "terminating" in words
    assert report.status_text == "failed"


def test_a_deleted_pod_failed_and_is_not_replaced(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    target = make_target(command=("sleep", "60"))
    started(target)
    running(target)
    [pod] = namespace.pods(NAME)
    namespace.admin.delete(f"{namespace.core}/pods/{pod['metadata']['name']}")
    assert final(target).status_text == "failed"
    assert namespace.pods(NAME) == []


@pytest.mark.parametrize("run", [NAME, TOKEN])
def test_stop_ends_the_pod_and_then_the_job(
    make_target: MakeTarget, namespace: Namespace, run: str
) -> None:
    """An attempt whose answer was lost has no job id, so its token names the run."""
    target = make_target(command=("sleep", "60"))
    started(target)
    running(target)
    assert target.live_tokens() == [TOKEN]
    assert target.verdict(run, None).verdict is Verdict.RUNNING
    report = target.stop(run, "ann", "wrong files")
    assert report == JobReport(Verdict.LOST, error="the Job was deleted", dead=True)
    assert namespace.pods(NAME) == [] and target.live_tokens() == []
    assert target.stop(run, "ann", "again").dead, "stopped already"


@pytest.mark.parametrize("run", [NAME, TOKEN])
def test_stop_leaves_a_tombstone(make_target: MakeTarget, namespace: Namespace, run: str) -> None:
    """Without it, a request that is still under way could start an agent after all."""
    target = make_target()
    assert not target.settle(TOKEN).started
    report = target.stop(run, "ann", "wrong files")
    assert report.dead and not report.started
    [job] = namespace.list_jobs()
    assert job["spec"]["suspend"] and "deletionTimestamp" not in job["metadata"]


def test_a_pod_that_comes_after_its_job_is_gone_is_found(
    make_target: MakeTarget, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Job controller can create a pod while its Job is deleted."""
    target = make_target(command=("sleep", "60"))
    started(target)
    running(target)
    [pod] = namespace.pods(NAME)
    assert target.stop(NAME, "ann", "wrong files").dead
    labels, spec = pod["metadata"]["labels"], pod["spec"]
    kept = {name: spec[name] for name in ("restartPolicy", "containers", "securityContext")}
    late = {"metadata": {"name": "late", "labels": labels}, "spec": kept}

    def create(_: float) -> None:
        namespace.admin.post(f"{namespace.core}/pods", json=late).raise_for_status()

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=create)
    monkeypatch.setattr(kubernetes_target, "time", clock)
    assert target.verdict(NAME, None) == JobReport(Verdict.RUNNING, "terminating")
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    namespace.admin.delete(
        f"{namespace.core}/pods/late", params={"gracePeriodSeconds": "0"}
    ).raise_for_status()
    wait_for(lambda: namespace.pods(NAME) == [])
    monkeypatch.setattr(clock, "sleep", pytest.fail)
    assert target.verdict(NAME, long_ago).dead, "read once: nothing can come any more"


def test_stop_says_why_it_cannot(make_target: MakeTarget, namespace: Namespace) -> None:
    target = make_target()
    started(target)
    namespace.revoke()
    report = target.stop(NAME, "ann", "wrong files")
    assert report.verdict is Verdict.UNKNOWN and "cannot get resource" in report.error


def test_a_finished_job_whose_time_is_over_is_lost(
    make_target: MakeTarget, namespace: Namespace
) -> None:
    target = make_target()
    started(target)
    final(target)
    namespace.admin.patch(
        f"{namespace.jobs}/{NAME}",
        json={"spec": {"ttlSecondsAfterFinished": 0}},
        headers={"content-type": "application/merge-patch+json"},
    ).raise_for_status()
    wait_for(lambda: namespace.get_job(NAME) is None)
    assert target.verdict(NAME, None) == JobReport(
        Verdict.LOST, error="the Job was deleted", dead=True
    )


def test_pod_security_is_named_at_once(make_target: MakeTarget, namespace: Namespace) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    with namespace.plane.namespace(label) as strict:
        template = namespace.plane.folder / f"{strict.name}.yaml"
        template.write_text(
            "apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: "
            "[{name: agent, image: stand-in, command: ['true']}]}}}\n",
            "utf-8",
        )
        token = namespace.plane.folder / f"{strict.name}.token"
        token.write_text(strict.token(), "utf-8")
        there = {"namespace": strict.name, "token_file": token}
        target = make_target(job_template=template, image="", command=(), **there)
        started(target)
        report = final(target)
        assert (report.verdict, report.status_text) == (Verdict.FINISHED, "error")
        assert (
            report.error.startswith("it can't start: ") and "violates PodSecurity" in report.error
        )
        assert not report.has_ended, "it may start later, as long as it exists"
        allowed = make_target(**there)
        started(allowed, "b" * 32)
        assert final(allowed, f"dolt-watch-{'b' * 32}").status_text == "completed", (
            "a Job of dolt_watch is allowed"
        )


def test_a_quota_on_pods_waits_and_is_named(make_target: MakeTarget, namespace: Namespace) -> None:
    namespace.quota(pods="0")
    target = make_target()
    started(target)
    report = wait_for(lambda: (found := target.verdict(NAME, None)).error and found)
    assert report.verdict is Verdict.RUNNING and report.status_text == "pending"
    assert "exceeded quota" in report.error
    impatient = make_target(start_timeout=timedelta(seconds=1))
    assert "exceeded quota" in final(impatient).error


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image": "missing/agent:1"}, "ImagePullBackOff: Back-off pulling image missing/agent:1"),
        (
            {"env_from_secret": ("nowhere",)},
            'CreateContainerConfigError: secret "nowhere" not found',
        ),
        ({"requests": {"cpu": "5000"}}, "Unschedulable: 0/1 nodes are available"),
        ({"command": ("/no/such/program",)}, "StartError"),
    ],
)
def test_a_pod_that_cannot_start_is_named(
    make_target: MakeTarget, changes: dict[str, object], named: str
) -> None:
    target = make_target(start_timeout=timedelta(seconds=1), **changes)
    started(target)
    report = final(target)
    assert report.failed and named in report.error


@pytest.mark.parametrize("job", ["", "../x", "UPPER", "x" * 64, "ü", "a/b"])
def test_a_name_that_no_job_can_have_is_not_asked_for(make_target: MakeTarget, job: str) -> None:
    target = make_target()
    assert target.verdict(job, None).verdict is Verdict.UNKNOWN
    assert target.stop(job, "ann", "x").verdict is Verdict.UNKNOWN
    with pytest.raises(LookupError):
        list(target.logs(job))


def test_capacity_counts_running_jobs_of_its_installation(make_target: MakeTarget) -> None:
    target = make_target(command=("sleep", "60"), max_jobs=3)
    started(target, "a" * 32)
    started(target, "b" * 32)
    other = make_target(installation="other", max_jobs=3)
    started(other, "c" * 32)
    target.settle("d" * 32)  # a tombstone takes no slot
    assert target.capacity().slots == 1
    assert other.capacity().slots == 2
    started(target, "e" * 32)
    capacity = target.capacity()
    assert (capacity.slots, capacity.why) == (0, "3 of 3 Jobs are running")
    assert not capacity.idle and capacity.proof == "both"


def test_ended_jobs_take_no_place(make_target: MakeTarget) -> None:
    target = make_target(command=("sh", "-c", "exit 1"), max_jobs=1)
    started(target)
    assert final(target).failed
    assert target.capacity().slots == 1
    done = make_target(command=("true",), max_jobs=1, installation="done")
    started(done, "e" * 32)
    wait_for(lambda: done.capacity().slots == 1)
    assert done.live_tokens() == []


def test_logs_follow_a_run_to_its_end(make_target: MakeTarget) -> None:
    target = make_target(command=("sh", "-c", "echo one; sleep 1; echo two"))
    started(target)
    running(target)
    assert b"".join(target.logs(NAME, follow=True)) == b"one\ntwo\n"


def test_logs_that_cannot_be_read_say_why(make_target: MakeTarget, namespace: Namespace) -> None:
    target = make_target()
    with pytest.raises(LookupError, match="has no Job"):
        list(target.logs(NAME))
    started(target)
    final(target)
    namespace.revoke()
    with pytest.raises(LogsUnavailable, match="cannot list resource"):
        list(target.logs(NAME))
