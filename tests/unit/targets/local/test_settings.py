"""Invalid settings of a local target. Each is an error before the first claim."""

from __future__ import annotations

import errno
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.config import load
from dolt_watch.core.model import Verdict
from dolt_watch.core.model.target_answers import Refused
from dolt_watch.errors import SettingsError
from dolt_watch.targets.local.settings import default_root
from dolt_watch.testing.target_conformance import make_task
from tests.unit.targets.local.agents import local, output, run


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"argv": ()}, "Target me has no program to run."),
        ({"argv": ("",)}, "Target me has no program to run."),
        ({"slots": 0}, "Target me: slots must be at least 1, but is 0."),
        ({"argv": ("a", "b\0c")}, "Target me: argv contains a NUL character."),
        ({"log_size": 0}, "Target me: log_size must be more than 0, but is 0."),
        ({"run_timeout": timedelta(0)}, "Target me: run_timeout must be more than 0, but is 0."),
        ({"env": ("BEADS_ACTOR",)}, "BEADS_ACTOR is set by dolt_watch"),
        ({"env": ("DOLT_WATCH_PASSWORD",)}, "DOLT_WATCH_PASSWORD is a setting of dolt_watch"),
        ({"env": ("=x",)}, "'' isn't the name of an environment variable"),
        ({"env": ("KEY=s3cret\0",)}, "the value of KEY contains a NUL character"),
        ({"rest_on": ("(",)}, "isn't a regular expression"),
        ({"rest_on": ("exit 256",)}, "the exit code of 'exit 256' must be at most 255"),
        ({"prompt_template": Path("/no/such/file.j2")}, "Can't read the template"),
    ],
)
def test_bad_settings(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says.replace("(", r"\(")) as found:
        local(tmp_path, "", **settings)
    assert found.value.where and found.value.fix
    assert not (tmp_path / "state").exists(), "nothing half started"


def test_a_template_of_the_user(tmp_path: Path) -> None:
    template = tmp_path / "prompt.j2"
    template.write_text("{{ bead.title }} / {{ token }} / {{ rule }}", "utf-8")
    target = local(tmp_path, "cat", prompt_template=template)
    run(target)
    assert output(target) == f"Find the slow query / {target.token} / agent\n"


def test_a_template_that_does_not_fit_a_bead_is_refused(tmp_path: Path) -> None:
    template = tmp_path / "prompt.j2"
    template.write_text("one\n{{ bead.no_such_column }}", "utf-8")
    target = local(tmp_path, "echo x > ran", prompt_template=template)
    answer = target.dispatch(make_task(), target.token)
    assert isinstance(answer, Refused) and f"{template}:2" in answer.why
    assert not target.store.folder(target.token).exists()


def test_a_state_directory_that_cannot_be_written_is_down(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file", "utf-8")
    target = local(tmp_path, "echo x > ran")
    capacity = target.capacity()
    assert capacity.down and str(tmp_path / "state") in capacity.why
    answer = target.dispatch(make_task(), target.token)
    assert isinstance(answer, Refused) and answer.unreachable == "target"
    assert not (tmp_path / "ran").exists()
    assert (list(target.leftovers()), target.live_tokens(), target.site) == ([], [], "")
    assert target.settle(target.token).verdict is Verdict.UNKNOWN


def test_a_state_directory_that_cannot_be_searched_gives_no_verdict(tmp_path: Path) -> None:
    target = local(tmp_path, "exit 0", root=tmp_path / ("x" * 300))  # a name that is too long
    assert target.capacity().down
    for report in (
        target.verdict(target.token, None),
        target.settle(target.token),
        target.stop(target.token, "ann", "x"),
    ):
        assert report.verdict is Verdict.UNKNOWN and "File name too long" in report.error
    assert (list(target.leftovers()), target.live_tokens(), target.site) == ([], [], "")


def test_on_a_full_disk_old_runs_are_still_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = local(tmp_path, "exit 0")
    run(target)

    def refuses(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuses)
    later = local(tmp_path, "exit 0", now=lambda: time.time() + 8 * 86400.0)
    capacity = later.capacity()
    assert capacity.down and "No space left" in capacity.why
    assert target.store.tokens() == []


@pytest.mark.parametrize(
    ("key", "value"), [("slots", "0"), ("slots", "-1"), ("run_timeout", '"0s"'), ("log_size", "0")]
)
def test_a_number_that_cannot_be_is_an_error_of_the_file(
    tmp_path: Path, key: str, value: str
) -> None:
    text = f'[rules.agent]\ntarget = "local"\n[targets.local]\nargv = ["true"]\n{key} = {value}\n'
    (tmp_path / "dolt_watch.toml").write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=f"targets.local.{key}") as found:
        load({"database": "dolt://root@localhost:3306/beads"}, {"HOME": "/h"}, tmp_path)
    assert "dolt_watch.toml:5" in str(found.value)


def test_the_state_directory_follows_xdg() -> None:
    assert default_root("t", {"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path("/s/dolt_watch/t")
    assert default_root("t", {"HOME": "/h"}) == Path("/h/.local/state/dolt_watch/t")
    assert default_root("t", {"XDG_STATE_HOME": "relative", "HOME": "/h"}) == Path(
        "/h/.local/state/dolt_watch/t"
    )
