"""The order in which a server for the tests is chosen."""

from __future__ import annotations

import pytest

from tests.servers import IMAGE, Choice, Source, choose, choose_bd

URL = "dolt://root@db.example:3306/x"


def have(*programs: str):
    return lambda name: f"/bin/{name}" if name in programs else None


def never() -> bool:
    raise AssertionError("Docker must not be asked: it costs seconds")


def test_the_named_server_goes_first():
    assert choose({"DOLT_WATCH_TEST_DATABASE": URL, "CI": "true"}, have("dolt"), never) == Choice(Source.GIVEN, URL)


def test_then_dolt_on_path():
    assert choose({}, have("dolt"), never) == Choice(Source.BINARY, "/bin/dolt")


def test_an_empty_setting_names_no_server():
    assert choose({"DOLT_WATCH_TEST_DATABASE": ""}, have("dolt"), never).source is Source.BINARY


@pytest.mark.parametrize("env", [{}, {"CI": "true"}])
def test_then_a_container(env):
    assert choose(env, have(), lambda: True) == Choice(Source.CONTAINER, IMAGE)


@pytest.mark.parametrize(
    ("env", "source"),
    [({}, Source.SKIP), ({"CI": "false"}, Source.SKIP), ({"CI": "true"}, Source.FAIL), ({"CI": "1"}, Source.FAIL)],
)
def test_without_any_it_is_skipped_but_fails_in_ci(env, source):
    choice = choose(env, have("bd"), lambda: False)
    assert choice.source is source
    assert "no dolt on PATH" in choice.why


@pytest.mark.parametrize(("env", "source"), [({}, Source.SKIP), ({"CI": "true"}, Source.FAIL)])
def test_bd_comes_from_path_only(env, source):
    assert choose_bd(env, have("bd")) == Choice(Source.BINARY, "/bin/bd")
    assert choose_bd(env, have("dolt")).source is source
