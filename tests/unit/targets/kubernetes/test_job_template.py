"""Users' Job manifests: accepted and refused manifests, and substitution of a bead's values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dolt_watch.errors import SettingsError
from dolt_watch.targets.kubernetes.job_template import JobTemplate, read_job_template
from dolt_watch.targets.kubernetes.manifest import complete_job
from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.templates import TemplateRenderError
from dolt_watch.testing import make_task
from tests.support.kubelet import expand

POD = "{containers: [{name: agent, image: x}]}"


def job(spec: str = "", pod: str = POD, more: str = "") -> str:
    head = f"apiVersion: batch/v1\nkind: Job\n{more}spec:\n"
    return f"{head}{spec}  template:\n    spec: {pod}\n"


HOSTILE = [
    "plain",
    "a: b\n- c",
    '"}], hostNetwork: true, x: ["',
    "'; rm -rf /",
    "{{ 7 * 7 }}",
    "*alias &anchor !!python/object:os.system",
    "null",
    "$(API_KEY) $$ $(BEAD_ID) $HOME",
    "\u2028\x85\x07ü👍",
    "---\n...\n%YAML 1.1",
]


@pytest.mark.parametrize("title", HOSTILE)
def test_whatever_a_bead_contains_stays_one_text_in_its_place(title: str) -> None:
    pod = (
        "{containers: [{name: agent, image: x, command: [run, '{{ bead.title }}', '$(BEAD_ID)'], "
        "env: [{name: T, value: 'title: {{ bead.title }}'}]}]}"
    )
    more = "metadata: {annotations: {title: '{{ bead.title }}'}}\n"
    found = JobTemplate(job(pod=pod, more=more), "job.yaml").render(make_task(title=title), "t")
    [container] = found["spec"]["template"]["spec"]["containers"]
    assert container.keys() == {"name", "image", "command", "env"}
    variables = {"API_KEY": "s3cret", "BEAD_ID": "bd-1"}
    assert [expand(each, variables) for each in container["command"]] == ["run", title, "bd-1"]
    assert expand(container["env"][0]["value"], variables) == f"title: {title}"
    assert found["metadata"]["annotations"]["title"] == title


def test_a_nul_does_not_reach_a_program() -> None:
    pod = "{containers: [{name: a, image: x, args: ['{{ bead.title }}']}]}"
    found = JobTemplate(job(pod=pod), "job.yaml").render(make_task(title="a\x00b"), "t")
    assert found["spec"]["template"]["spec"]["containers"][0]["args"] == [
        "a\N{REPLACEMENT CHARACTER}b"
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "isn't one object of kind Job"),
        ("[1]", "isn't one object of kind Job"),
        ("a: b: c", "isn't YAML"),
        ("a: b\n---\nc: d", "isn't YAML"),
        ("!!python/object/apply:os.system ['true']", "isn't YAML"),
        ("[" * 1000, "nested too deeply"),
        (job(more="metadata: &a {labels: {a: *a}}\n"), "nested too deeply"),
        ("a: 2026-13-45", "isn't YAML: month must be in"),
        ("a: !!float x", "isn't YAML"),
        ("a: !!timestamp x", "isn't YAML"),
        (f"a: 1{'0' * 5000}", "isn't YAML"),
        ("kind: Pod", "isn't one object of kind Job"),
        ("kind: Job", "apiVersion must be batch/v1"),
        (job(more="status: {}\n"), "a Job has no key status"),
        (job(pod="{}"), "containers is missing"),
        (job(pod="{containers: []}"), "containers is missing"),
        (job(pod="{containers: [x]}"), "containers[0] isn't a container"),
        (job(pod="{containers: [{env: {A: b}}]}"), "containers[0].env isn't a list"),
        (
            job(pod="{containers: [{}], initContainers: [1]}"),
            "initContainers[0] isn't a container",
        ),
        (job(more="metadata: x\n"), "metadata isn't an object"),
        (job(more="metadata: {labels: [a]}\n"), "metadata isn't an object"),
        (job("  backoffLimit: 3\n"), "spec.backoffLimit must be 0"),
        (job("  completions: 2\n"), "spec.completions must be 1"),
        (job("  parallelism: 0\n"), "spec.parallelism must be 1"),
        (job("  suspend: true\n"), "spec.suspend must be False"),
        (job("  completionMode: Indexed\n"), "spec.completionMode must be NonIndexed"),
        (job("  managedBy: kueue\n"), "spec.managedBy can't be set"),
        (job("  backoffLimitPerIndex: 1\n"), "spec.backoffLimitPerIndex can't be set"),
        (job(pod="{restartPolicy: OnFailure, containers: [{}]}"), "restartPolicy must be Never"),
        (job(pod="{containers: [{restartPolicy: Always}]}"), "restartPolicy must be Never"),
        (job(pod="{containers: [{restartPolicyRules: []}]}"), "restartPolicyRules can't be set"),
        (
            job(pod="{containers: [{}], initContainers: [{restartPolicyRules: [{}]}]}"),
            "restartPolicyRules can't be set",
        ),
        (job("  podFailurePolicy: {rules: [{action: Ignore}]}\n"), "must be FailJob or Count"),
        (job("  podFailurePolicy: {rules: ['{{ rule }}']}\n"), "must be FailJob or Count"),
        (job("  podFailurePolicy: x\n"), "must be FailJob or Count"),
        (job("  activeDeadlineSeconds: 0\n"), "activeDeadlineSeconds must be a number"),
        (job("  ttlSecondsAfterFinished: soon\n"), "ttlSecondsAfterFinished must be a number"),
        (job(pod="{containers: [{image: '{{ beed.id }}'}]}"), "unknown name beed"),
        (job(pod="{containers: [{image: '{% if %}'}]}"), "The template is invalid"),
        (job(pod="{containers: [{image: \"{% include 'x' %}\"}]}"), "can't include another"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_claimed(text: str, named: str) -> None:
    with pytest.raises(SettingsError) as error:
        JobTemplate(text, "job.yaml")
    assert named in error.value.message
    assert (error.value.where or "").startswith("job.yaml")
    assert error.value.fix


def test_what_cannot_start_a_second_agent_is_accepted() -> None:
    pod = "{containers: [{name: a}], initContainers: [{name: sidecar, restartPolicy: Always}]}"
    policy = "  podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {values: [3]}}]}\n"
    JobTemplate(job(policy, pod), "job.yaml")


def test_keys_that_yaml_reads_as_a_date_stay_text() -> None:
    more = "metadata: {annotations: {2026-11-30: 2026-11-30, 7: x}}\n"
    found = JobTemplate(job(more=more), "job.yaml").render(make_task(), "t")
    assert json.loads(json.dumps(found))["metadata"]["annotations"] == {
        "2026-11-30": "2026-11-30",
        "7": "x",
    }


def test_a_wrong_template_names_its_place() -> None:
    pod = "{containers: [{image: x, args: [a, '{{ beed }}']}]}"
    with pytest.raises(SettingsError) as error:
        JobTemplate(job(pod=pod), "job.yaml")
    assert error.value.where == "job.yaml: spec.template.spec.containers[0].args[1]:1"


def test_a_column_that_a_bead_lacks_is_an_error_of_that_bead() -> None:
    template = JobTemplate(job(pod="{containers: [{image: '{{ bead.nope }}'}]}"), "job.yaml")
    with pytest.raises(TemplateRenderError, match=r"containers\[0\].image"):
        template.render(make_task(), "t")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_job_template(tmp_path / "missing.yaml", "dolt_watch.toml:3")
    (tmp_path / "latin.yaml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="isn't UTF-8"):
        read_job_template(tmp_path / "latin.yaml", "dolt_watch.toml:3")


FULL = """
apiVersion: batch/v1
kind: Job
metadata:
  name: ignored
  labels: {team: search, dolt-watch.dev/bead: forged}
spec:
  activeDeadlineSeconds: 60
  template:
    metadata: {labels: {team: search}}
    spec:
      serviceAccountName: agent
      initContainers: [{name: clone, image: git}]
      containers:
      - name: agent
        image: agent:1
        args: ["--bead", "$(BEAD_ID)"]
        env: [{name: BEAD_ID, value: forged}, {name: MODE, value: fast}]
      - {name: sidecar, image: proxy}
"""


def completed(text: str, **settings: Any) -> dict[str, Any]:
    task = make_task("bd-7")
    manifest = JobTemplate(text, "job.yaml").render(task, "token-1")
    return complete_job(manifest, KubernetesSettings("k", **settings), task, "token-1", "do it")


def test_the_manifest_keeps_its_own_and_gets_what_makes_it_one_run() -> None:
    found = completed(FULL)
    assert found["metadata"]["name"] == "dolt-watch-token-1"
    assert found["metadata"]["labels"]["team"] == "search"
    assert found["metadata"]["labels"]["dolt-watch.dev/bead"] == "bd-7"
    spec = found["spec"]
    assert (spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (60, 86400)
    once = ("backoffLimit", "completions", "parallelism", "suspend")
    assert tuple(spec[key] for key in once) == (0, 1, 1, False)
    assert spec["template"]["metadata"]["labels"]["team"] == "search"
    pod = spec["template"]["spec"]
    assert (pod["restartPolicy"], pod["serviceAccountName"]) == ("Never", "agent")
    agent, sidecar = pod["containers"]
    assert sidecar == {"name": "sidecar", "image": "proxy"}
    variables = [(each["name"], each["value"]) for each in agent["env"]]
    assert variables == [
        ("BEAD_ID", "bd-7"),
        ("BEADS_ACTOR", "agent"),
        ("DOLT_WATCH_RULE", "agent"),
        ("DOLT_WATCH_TOKEN", "token-1"),
        ("DOLT_WATCH_PROMPT", "do it"),
        ("MODE", "fast"),
    ]


def test_rendering_changes_nothing_that_the_next_bead_sees() -> None:
    template = JobTemplate(FULL, "job.yaml")
    before = yaml.safe_load(FULL)
    for bead in ("bd-1", "bd-2"):
        task = make_task(bead)
        manifest = template.render(task, "t")
        complete_job(manifest, KubernetesSettings("k"), task, "t", "p")
        assert manifest == before
