"""A target pool: settings become a target, or an error with a fix."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from dolt_watch.errors import SettingsError
from dolt_watch.targets.settings import BeadBoardSettings
from tests.support.targets import open_target

Like = partial(BeadBoardSettings, "beadboard", url="http://127.0.0.1:3000")


def test_it_opens_and_asks_nothing() -> None:
    target = open_target(
        BeadBoardSettings("board", url="http://127.0.0.1:3000", timeout=timedelta(minutes=1))
    )
    assert (target.name, target.timeout) == ("board", 60.0)
    target.close()


def test_no_url_names_both_places_to_set_it() -> None:
    with pytest.raises(SettingsError) as caught:
        open_target(Like(url=""))
    assert caught.value.exit_code == 2
    assert (
        caught.value.fix
        and "BEADBOARD_URL" in caught.value.fix
        and "[targets.beadboard] url" in caught.value.fix
    )


@pytest.mark.parametrize(
    "like",
    [
        Like(kind="telepathy"),
        Like(url="localhost:3000"),
        Like(url="ftp://host"),
        Like(url="http://"),
        Like(url="http://host:99999"),
        Like(url="http://[::1"),
        Like(url="http://host/?x=1"),
        Like(service_url="nonsense"),
        Like(timeout=timedelta()),
        Like(timeout=timedelta(hours=2)),
    ],
    ids=repr,
)
def test_what_is_wrong_is_said_with_what_mends_it(like: BeadBoardSettings) -> None:
    with pytest.raises(SettingsError) as caught:
        open_target(like)
    assert caught.value.where and caught.value.fix


def test_a_password_in_a_bad_url_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        open_target(Like(url="ftp://user:hunter2@host"))
    assert "hunter2" not in str(caught.value)
