"""``config --format toml`` and ``init --write-config``: a file that gives the same settings."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from dolt_watch.config import describe, load, settings_hash
from dolt_watch.config.sources import LINKS, NOTIFY, RULE, TOP
from dolt_watch.config.template import settings_as_toml
from dolt_watch.targets import registry

FLAGS = {"database": "dolt://ann@db.example:3310/beads"}
FULL = """
settle = "3s"
adopt = false
[notify]
target = "hook"
on = "reap, failed"
[links]
bead = "https://example.com/{id}"
[rules.a-1]
when = "title = 'say \\"hi\\" \\\\ done'"
max_attempts = 7
stale_after = "90s"
[rules."b"]
target = "cmd"
[targets.hook]
kind = "webhook"
url = "https://example.com/x"
[targets.cmd]
kind = "command"
argv = ["sh", "-c", "echo ü\\u007f"]
"""


def test_the_file_gives_the_same_settings_again(tmp_path: Path) -> None:
    (tmp_path / "dolt_watch.toml").write_text(FULL, "utf-8")
    before = load(FLAGS, {}, tmp_path)
    text = settings_as_toml(before)
    again = tmp_path / "again"
    again.mkdir()
    (again / "dolt_watch.toml").write_text(text, "utf-8")
    after = load({}, {}, again)
    assert settings_hash(after) == settings_hash(before)
    assert {line.key: line.value for line in describe(after)} == {
        line.key: line.value for line in describe(before)
    }


@pytest.mark.parametrize("kind", list(registry.BUILT_IN))
def test_each_key_is_there_with_an_explanation(tmp_path: Path, kind: str) -> None:
    (tmp_path / "dolt_watch.toml").write_text(
        f"[rules.agent]\ntarget = 'own'\n[targets.own]\nkind = '{kind}'\n", "utf-8"
    )
    text = settings_as_toml(load(FLAGS, {}, tmp_path))
    for key, type_ in {**TOP, **NOTIFY, **LINKS, **RULE, **registry.setting_types(kind)}.items():
        if type_ == "secret":
            assert f"A secret: set DOLT_WATCH_TARGETS_OWN_{key.upper()}" in re.sub(
                r"\n# ", " ", text
            )
            assert not re.search(rf"^#?{key} = ", text, re.MULTILINE)
        else:
            assert re.search(rf"^# .+\n#?{key} = ", text, re.MULTILINE), key
    for line in re.findall(r"^#(\w+ = .*)$", text, re.MULTILINE):
        tomllib.loads(line)


def test_no_secret_is_printed(tmp_path: Path) -> None:
    env = {
        "DOLT_WATCH_PASSWORD": "pa55-word",
        "DOLT_WATCH_TARGETS_WEBHOOK_SECRET": "pa55-secret",
        "DOLT_WATCH_TARGETS_WEBHOOK_URL": "https://u:pa55@h/x?token=pa55",
    }
    assert "pa55" not in settings_as_toml(load(FLAGS, env, tmp_path))


def test_a_database_that_bd_names_stays_a_comment(tmp_path: Path) -> None:
    beads = tmp_path / ".beads"
    beads.mkdir()
    (beads / "metadata.json").write_text(
        '{"dolt_mode": "server", "dolt_database": "b", "project_id": "p"}', "utf-8"
    )
    text = settings_as_toml(load({}, {}, tmp_path))
    assert re.search(r'^#database = "dolt://', text, re.MULTILINE)
    assert not re.search(r"^database = ", text, re.MULTILINE)
