"""The recipes, as far as they can run here: each file in a page is valid for its program."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cronsim import CronSim

from dolt_watch import __version__
from dolt_watch.config import load
from dolt_watch.errors import SettingsError
from dolt_watch.timestamps import to_utc
from tests.docs.conftest import ROOT
from tests.support.servers import tool

HERE = ROOT / "docs/recipes"
PAGES = {page.stem: page.read_text("utf-8") for page in HERE.glob("*.md")}


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)
    assert found, f"{page}.md has no {language}"
    return found


def check_command(words: list[str]) -> None:
    """Check that ``dolt_watch`` has the command and its options."""
    assert Path(words[0]).name == "dolt_watch"
    done = subprocess.run(
        [sys.executable, "-m", "dolt_watch", *words[1:], "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


UNITS = ROOT / "examples/systemd"


def units() -> dict[str, str]:
    return {file.name: file.read_text("utf-8") for file in sorted(UNITS.iterdir())}


def test_systemd_units() -> None:
    assert set(units()) == {
        "dolt-watch.service",
        "dolt-watch-tick.service",
        "dolt-watch-tick.timer",
    }
    for name, text in units().items():
        assert text.startswith(f"# /etc/systemd/system/{name}\n")
        assert f"examples/systemd/{name}" in PAGES["systemd"]
        for command in re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE):
            check_command(command.split())


WHERE = {"WorkingDirectory", "Environment", "LoadCredential"}


def test_both_units_run_as_the_trackers_owner_with_the_same_rights_and_password() -> None:
    """DynamicUser couldn't start, because only the owner may read bd's .beads (0700)."""
    both = []
    for name in ("dolt-watch.service", "dolt-watch-tick.service"):
        text = units()[name]
        lines = [tuple(line.split("=", 1)) for line in text.splitlines() if "=" in line]
        where = [(key, value) for key, value in lines if key in WHERE]
        assert {key for key, _ in where} == WHERE
        assert "DynamicUser" not in dict(lines)
        both.append((where, text[text.index("\nUser=") :].split("\n[Install]")[0].strip()))
    assert both[0] == both[1]
    assert ("Environment", "DOLT_WATCH_PASSWORD_FILE=%d/password") in both[0][0]


def test_wrong_settings_are_not_tried_again_and_again() -> None:
    assert (
        f"\nRestartPreventExitStatus={SettingsError.exit_code}\n" in units()["dolt-watch.service"]
    )


def test_systemd_verifies_them(tmp_path: Path) -> None:
    tool("systemd-analyze", "units were not verified")
    program = tmp_path / "dolt_watch"
    program.write_text("#!/bin/sh\n", "utf-8")
    program.chmod(0o755)
    for name, text in units().items():
        (tmp_path / name).write_text(
            text.replace("/opt/dolt-watch/bin/dolt_watch", str(program)), "utf-8"
        )
    verify = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in units())]
    done = subprocess.run(
        verify,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    ours = [line for line in done.stderr.splitlines() if "dolt-watch" in line]
    assert not ours, ours
    calendar = re.search(r"OnCalendar=(.*)", units()["dolt-watch-tick.timer"])
    assert calendar
    assert (
        subprocess.run(["systemd-analyze", "calendar", calendar[1]], capture_output=True).returncode
        == 0
    )


@pytest.mark.parametrize("name", ["dolt-watch.service", "dolt-watch-tick.service"])
def test_systemd_units_are_hardened(name: str) -> None:
    tool("systemd-analyze", "the exposure was not measured")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=25"]
    done = subprocess.run([*command, UNITS / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    (exposure,) = re.findall(r"exposure level for \S+: (\S+)", done.stdout)
    assert float(exposure) <= 2.5
    if name == "dolt-watch.service":
        assert f"an exposure of {exposure} of 10" in PAGES["systemd"]


def test_the_drop_in_for_agents_loosens_what_the_unit_has() -> None:
    (text,) = blocks("systemd", "ini")
    unit = dict(
        line.split("=", 1) for line in units()["dolt-watch.service"].splitlines() if "=" in line
    )
    changed = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    new = {"KillMode", "ReadWritePaths", "StateDirectory"}
    assert set(changed) - set(unit) == new
    assert changed["KillMode"] == "process"


def crontab() -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the variables of the crontab, and the schedule and the command of each line."""
    (text,) = blocks("cron", "crontab")
    variables = dict(
        line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z_]+=", line)
    )
    lines = [line.split(None, 5) for line in text.splitlines() if not re.match(r"[A-Z_]+=", line)]
    return variables, [(" ".join(fields), command) for *fields, command in lines]


def test_cron_lines() -> None:
    moment = to_utc("2026-04-18T22:35:46Z")
    assert moment is not None
    commands = []
    for schedule, command in crontab()[1]:
        assert next(CronSim(schedule, moment)) > moment
        words = shlex.split(command.split("flock ")[1].split("2>&1")[0])
        assert words[:3] == ["-n", "-E", "0"]
        commands.append(words[5])
        check_command(words[4:])
        assert "%" not in command, "cron reads % as a new line"
    assert commands == ["dispatch", "reap"]


@pytest.mark.parametrize("number", [0, 1])
def test_cron_mails_an_exit_that_is_not_0_and_nothing_else(number: int, tmp_path: Path) -> None:
    """The line runs as in cron, with stand-ins for dolt_watch and for logger."""
    tool("flock"), tool("bash")
    variables, lines = crontab()
    command = (
        lines[number][1]
        .replace("/srv/tracker", str(tmp_path))
        .replace("/opt/dolt-watch/bin", str(tmp_path))
    )
    lock = command.split("-E 0 ")[1].split()[0]
    (tmp_path / "logger").write_text(f"#!/bin/sh\ncat >> {tmp_path}/log\n", "utf-8")

    def run(code: int) -> str:
        (tmp_path / "dolt_watch").write_text(f"#!/bin/sh\necho said >&2\nexit {code}\n", "utf-8")
        for each in ("logger", "dolt_watch"):
            (tmp_path / each).chmod(0o755)
        env = {**variables, "PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(
            [variables["SHELL"], "-c", command],
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    assert run(0) == ""
    assert run(3).rstrip().endswith("exit 3")
    assert (tmp_path / "log").read_text("utf-8") == "said\nsaid\n"
    with subprocess.Popen(
        ["flock", tmp_path / lock, "sh", "-c", "echo; cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holds:
        assert holds.stdout is not None and holds.stdin is not None
        holds.stdout.readline()
        assert run(1) == "", "another one runs, which is no failure"
        holds.stdin.close()


def test_github_workflow() -> None:
    (text,) = blocks("github-actions", "yaml")
    workflow: dict[Any, Any] = yaml.safe_load(text)
    (schedule,) = workflow[True]["schedule"]  # YAML 1.1 reads `on` as a boolean.
    assert len(schedule["cron"].split()) == 5
    moment = to_utc("2026-04-18T22:35:46Z")
    assert moment is not None
    assert next(CronSim(schedule["cron"], moment)) > moment
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    steps = workflow["jobs"]["tick"]["steps"]
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in steps if "uses" in step)
    check_command(steps[-1]["run"].split())
    env = {
        name: value for name, value in steps[-1]["env"].items() if name.startswith("DOLT_WATCH_")
    }
    assert load({}, {**env, "DOLT_WATCH_DATABASE": "dolt://u@db.example/beads"}).address


def test_n8n_settings(tmp_path: Path) -> None:
    (text,) = blocks("n8n", "toml")
    (tmp_path / "dolt_watch.toml").write_text(text, "utf-8")
    (tmp_path / "webhook-secret").write_text("whsec_" + "A" * 32, "utf-8")
    settings = load({"database": "dolt://h/d?tls=false"}, {}, tmp_path)
    assert settings.targets[settings.rules[0].target].kind == "webhook"
    assert tomllib.loads(text)["targets"]["n8n"]["url"].endswith("/webhook/dolt-watch")


def test_kubernetes_overlay(tmp_path: Path) -> None:
    tool("kubectl", "the overlay was not rendered")
    (text,) = blocks("kubernetes", "yaml")
    shutil.copytree(ROOT / "cronjobs", tmp_path / "cronjobs")
    overlay = tmp_path / "cronjobs/overlays/yours"
    overlay.mkdir()
    for name in ("metadata.json", "dolt_watch.toml"):
        shutil.copyfile(ROOT / "cronjobs/base" / name, overlay / name)
    for base, kind in (("../service", "Deployment"), ("../../base", "CronJob")):
        (overlay / "kustomization.yaml").write_text(text.replace("../service", base), "utf-8")
        done = subprocess.run(
            ["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        objects = [one for one in yaml.safe_load_all(done.stdout) if one["kind"] == kind]
        assert objects
        assert f"your-registry/dolt_watch:{__version__}" in done.stdout
        assert all(one["metadata"]["namespace"] == "beads-server" for one in objects)
