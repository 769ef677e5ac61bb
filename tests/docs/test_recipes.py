"""The recipes, as far as they can be run here: each file that a page holds is read by what will read it."""

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
from dolt_watch.settings import load
from dolt_watch.times import utc
from tests.docs.conftest import ROOT

HERE = ROOT / "docs/recipes"
PAGES = {page.stem: page.read_text("utf-8") for page in HERE.glob("*.md")}


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)
    assert found, f"{page}.md has no {language}"
    return found


def check_command(words: list[str]) -> None:
    """``dolt_watch`` knows the command and its options."""
    assert Path(words[0]).name == "dolt_watch"
    done = subprocess.run([sys.executable, "-m", "dolt_watch", *words[1:], "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def units() -> dict[str, str]:
    named = [re.match(r"# \S+/([^/\s]+)\n", text) for text in blocks("systemd", "ini")]
    return {name[1]: name.string for name in named if name}


def test_systemd_units() -> None:
    assert set(units()) == {"dolt-watch.service", "dolt-watch-tick.service", "dolt-watch-tick.timer"}
    for text in units().values():
        for command in re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE):
            check_command(command.split())


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on PATH: units were not verified")
def test_systemd_verifies_them(tmp_path: Path) -> None:
    program = tmp_path / "dolt_watch"
    program.write_text("#!/bin/sh\n", "utf-8")
    program.chmod(0o755)
    for name, text in units().items():
        (tmp_path / name).write_text(text.replace("/opt/dolt-watch/bin/dolt_watch", str(program)), "utf-8")
    verify = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in units())]
    done = subprocess.run(
        verify, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    )
    ours = [line for line in done.stderr.splitlines() if "dolt-watch" in line]
    assert not ours, ours
    calendar = re.search(r"OnCalendar=(.*)", units()["dolt-watch-tick.timer"])
    assert calendar
    assert subprocess.run(["systemd-analyze", "calendar", calendar[1]], capture_output=True).returncode == 0


def test_cron_lines() -> None:
    (text,) = blocks("cron", "crontab")
    moment = utc("2026-04-18T22:35:46Z")
    assert moment is not None
    commands = []
    for line in text.splitlines():
        if re.match(r"[A-Z_]+=", line):
            continue
        fields, command = line.split(None, 5)[:5], line.split(None, 5)[5]
        assert next(CronSim(" ".join(fields), moment)) > moment
        words = shlex.split(command.split("&&")[1].split("2>&1")[0])
        assert words[:2] == ["flock", "-n"]
        commands.append(words[4])
        check_command(words[3:])
        assert "%" not in command, "cron reads % as a new line"
    assert commands == ["dispatch", "reap"]


def test_github_workflow() -> None:
    (text,) = blocks("github-actions", "yaml")
    workflow: dict[Any, Any] = yaml.safe_load(text)
    (schedule,) = workflow[True]["schedule"]  # YAML 1.1 reads `on` as a boolean
    assert len(schedule["cron"].split()) == 5
    moment = utc("2026-04-18T22:35:46Z")
    assert moment is not None
    assert next(CronSim(schedule["cron"], moment)) > moment
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is False
    steps = workflow["jobs"]["tick"]["steps"]
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in steps if "uses" in step)
    check_command(steps[-1]["run"].split())
    env = {name: value for name, value in steps[-1]["env"].items() if name.startswith("DOLT_WATCH_")}
    assert load({}, {**env, "DOLT_WATCH_DATABASE": "dolt://u@db.example/beads"}).address


def test_n8n_settings(tmp_path: Path) -> None:
    (text,) = blocks("n8n", "toml")
    (tmp_path / "dolt_watch.toml").write_text(text, "utf-8")
    (tmp_path / "webhook-secret").write_text("whsec_" + "A" * 32, "utf-8")
    settings = load({"database": "dolt://h/d?tls=false"}, {}, tmp_path)
    assert settings.targets[settings.rules[0].target].kind == "webhook"
    assert tomllib.loads(text)["targets"]["n8n"]["url"].endswith("/webhook/dolt-watch")


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl on PATH: the overlay was not rendered")
def test_kubernetes_overlay(tmp_path: Path) -> None:
    (text,) = blocks("kubernetes", "yaml")
    shutil.copytree(ROOT / "cronjobs", tmp_path / "cronjobs")
    overlay = tmp_path / "cronjobs/overlays/yours"
    overlay.mkdir()
    for name in ("metadata.json", "dolt_watch.toml"):
        shutil.copyfile(ROOT / "cronjobs/base" / name, overlay / name)
    for base, kind in (("../service", "Deployment"), ("../../base", "CronJob")):
        (overlay / "kustomization.yaml").write_text(text.replace("../service", base), "utf-8")
        done = subprocess.run(["kubectl", "kustomize", str(overlay)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        objects = [one for one in yaml.safe_load_all(done.stdout) if one["kind"] == kind]
        assert objects
        assert f"your-registry/dolt_watch:{__version__}" in done.stdout
        assert all(one["metadata"]["namespace"] == "beads-server" for one in objects)
