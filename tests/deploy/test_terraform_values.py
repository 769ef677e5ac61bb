"""The module's variables and locals, evaluated by Terraform from PATH.

The tests need no provider, because it isn't available everywhere.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.deploy.terraform_module import GIVEN, MODULE, Module
from tests.support.servers import tool


def terraform(*args: str, cwd: Path, said: str | None = None) -> subprocess.CompletedProcess[str]:
    program = tool("terraform")
    env = os.environ | {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    return subprocess.run(
        [program, *args], cwd=cwd, env=env, input=said, capture_output=True, text=True, check=False
    )


def test_it_is_formatted() -> None:
    done = terraform("fmt", "-check", "-diff", ".", cwd=MODULE)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that need no provider."""
    folder = tmp_path_factory.mktemp("module")
    for name in ("variables.tf", "locals.tf"):
        shutil.copy(MODULE / name, folder)
    done = terraform("init", "-backend=false", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


REFUSED = [
    ("image", "dolt_watch"),
    ("image", "dolt_watch:latest"),
    ("image", "registry:5000/dolt_watch"),
    ("mode", "both"),
    ("replicas", 0),
    ("replicas", 1.5),
    ("resources", {"cpu": "50", "memory": "128MB", "memory_limit": "256Mi"}),
    (
        "resources",
        {"cpu": "50m", "memory": "128Mi", "memory_limit": "256Mi", "cpu_limit": "one"},
    ),
    ("resources", {"cpu": "50m", "memory": "128Mi", "memory_limit": "256Mi", "storage": "1"}),
    ("namespace", "Beads"),
    ("name", "dolt_watch"),
    ("name", ""),
    ("dispatcher_name", "b" * 53),
    ("reaper_name", "-reaper"),
    ("dispatcher_schedule", "*/2 * * *"),
    ("dispatcher_schedule", "0 */2 * * * *"),
    ("reaper_schedule", "@hourly"),
    ("reaper_schedule", "*/10  * * * *"),
    ("dolt_host", ""),
    ("dolt_port", 0),
    ("dolt_port", 65536),
    ("dolt_user", ""),
    ("dolt_database", ""),
    ("project_id", "code"),
    ("beadboard_url", "beadboard"),
    ("beadboard_url", "http://me:secret@beadboard"),
    ("agent_service_url", "http://me:secret@service"),
    ("agent_service_url", "service:8080"),
    ("when", ""),
    ("stale_after", "30"),
    ("stale_after", "-30m"),
    ("retry_after", "soon"),
    ("max_attempts", 0),
    ("max_in_flight", 0.5),
    ("dolt_pod_labels", {}),
    ("beadboard_pod_labels", {}),
    ("beadboard_pod_port", 99999),
    ("agent_service_namespace", ""),
    ("agent_service_pod_labels", {}),
    ("agent_service_pod_port", -1),
    ("metrics_namespace", "a b"),
    ("api_server_cidrs", []),
    ("api_server_cidrs", ["10.0.0.1"]),
]
TAKEN = [
    ("image", "registry.example:5000/tools/dolt_watch:1.2.3"),
    ("image", "dolt_watch@sha256:" + "0" * 64),
    ("mode", "service"),
    ("replicas", 2),
    ("dispatcher_schedule", "0-59/2 8,20 1 JAN MON-FRI"),
    ("beadboard_url", "https://beadboard.example:3000/base"),
    ("agent_service_url", ""),
    ("stale_after", "1h30m"),
    ("admin_secret", None),
    (
        "resources",
        {
            "cpu": "50m",
            "memory": "128Mi",
            "memory_limit": "256Mi",
            "cpu_limit": "500m",
            "storage": "128Mi",
        },
    ),
    ("settings", '[targets.beadboard]\ntimeout = "10s"'),
    ("max_in_flight", 4),
    ("dispatcher_name", "b" * 52),
    ("agents_enabled", True),
    ("api_server_cidrs", ["10.1.2.3/32", "fd00::/8"]),
]


def test_terraform_refuses_what_is_wrong_and_takes_what_is_right(values: Path) -> None:
    runs = [
        f'run "n{number}" {{\n  command = plan\n  variables {{\n    {name} = {json.dumps(value)}\n '
        " }\n" + (f"  expect_failures = [var.{name}]\n" if bad else "") + "}\n"
        for number, (name, value, bad) in enumerate(
            [*((*each, True) for each in REFUSED), *((*each, False) for each in TAKEN)]
        )
    ]
    given = "".join(f"  {name} = {json.dumps(value)}\n" for name, value in GIVEN.items())
    (values / "all.tftest.hcl").write_text(
        f"variables {{\n{given}}}\n" + "".join(runs), encoding="utf-8"
    )
    done = terraform("test", "-no-color", cwd=values)
    assert f"Success! {len(runs)} passed, 0 failed." in done.stdout, done.stdout + done.stderr


def test_every_validation_has_been_tried() -> None:
    assert {name for name, body in Module().variables.items() if "validation" in body} == {
        name for name, _ in REFUSED
    }


def test_terraform_computes_the_same_values(values: Path) -> None:
    given = {
        "when": "title <> '\"\\ü<&${x}'",
        "settings": 'settle = "1s"\n[targets.b]\nkind = "command"',
        "mode": "service",
    } | GIVEN
    (values / "terraform.tfvars.json").write_text(json.dumps(given), encoding="utf-8")
    asked = (
        "jsonencode({ jobs = local.jobs, requests = local.requests, limits = local.limits,"
        " labels = local.labels, metadata = jsondecode(local.metadata), settings ="
        " local.settings })"
    )
    done = terraform("console", cwd=values, said=asked)
    assert done.returncode == 0, done.stderr
    computed = json.loads(json.loads(done.stdout))
    module = Module(**given)
    for name in ("jobs", "requests", "limits", "labels"):
        assert computed[name] == module.value(f"${{local.{name}}}", {})
    assert computed["metadata"] == json.loads(module.value("${local.metadata}", {}))
    assert tomllib.loads(computed["settings"]) == tomllib.loads(
        module.value("${local.settings}", {})
    )
