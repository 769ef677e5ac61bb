"""The order in which a server for the tests is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.standin.dialect import DEFAULT
from tests.support import servers
from tests.support.servers import IMAGE, Choice, Source, choose, choose_bd, own_dolt, tool

URL = "dolt://root@db.example:3306/x"


def have(*programs: str):
    return lambda name: f"/bin/{name}" if name in programs else None


def never() -> bool:
    raise AssertionError("Docker must not be asked: it costs seconds")


def test_the_named_server_goes_first():
    assert choose({"DOLT_WATCH_TEST_DATABASE": URL, "CI": "true"}, have("dolt"), never) == Choice(
        Source.GIVEN, URL
    )


def test_then_dolt_on_path():
    assert choose({}, have("dolt"), never) == Choice(Source.BINARY, "/bin/dolt")


def test_an_empty_setting_names_no_server():
    assert choose({"DOLT_WATCH_TEST_DATABASE": ""}, have("dolt"), never).source is Source.BINARY


@pytest.mark.parametrize("env", [{}, {"CI": "true"}])
def test_then_a_container(env):
    assert choose(env, have(), lambda: True) == Choice(Source.CONTAINER, IMAGE)


@pytest.mark.parametrize(
    ("env", "source"),
    [
        ({}, Source.SKIP),
        ({"CI": "false"}, Source.SKIP),
        ({"CI": "true"}, Source.FAIL),
        ({"CI": "1"}, Source.FAIL),
    ],
)
def test_without_any_it_is_skipped_but_fails_in_ci(env, source):
    choice = choose(env, have("bd"), lambda: False)
    assert choice.source is source
    assert "no dolt on PATH" in choice.why


@pytest.mark.parametrize(
    ("env", "programs", "chosen"),
    [
        ({}, ["bd"], Choice(Source.BINARY, "/bin/bd")),
        ({"BD": "bd-1.2"}, ["bd", "bd-1.2"], Choice(Source.BINARY, "/bin/bd-1.2")),
        ({}, ["dolt"], Choice(Source.STANDIN, DEFAULT)),
        ({"CI": "true"}, ["dolt"], Choice(Source.STANDIN, DEFAULT)),
        ({"DOLT_WATCH_TEST_BD": "1.3"}, ["bd"], Choice(Source.STANDIN, "1.3")),
        (
            {"DOLT_WATCH_TEST_BD": "1.3", "BD": "bd-1.2"},
            ["bd", "bd-1.2"],
            Choice(Source.STANDIN, "1.3"),
        ),
    ],
)
def test_a_real_bd_goes_before_the_standin_unless_a_dialect_is_named(env, programs, chosen):
    assert choose_bd(env, have(*programs)) == chosen


@pytest.mark.parametrize("env", [{"BD": "nowhere"}, {"DOLT_WATCH_TEST_BD": "0.9"}])
def test_a_bd_that_is_named_and_not_there_fails(env):
    assert choose_bd(env, have("bd")).source is Source.FAIL


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
@pytest.mark.parametrize("asked", [lambda: tool("node", "nothing was run"), own_dolt])
def test_a_program_that_is_missing_is_a_skip_and_in_ci_a_failure(monkeypatch, ci, outcome, asked):
    for name, value in (("PATH", ""), ("CI", ci), ("DOLT_WATCH_TEST_DATABASE", "")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(servers, "docker_answers", lambda: False)
    with pytest.raises(outcome, match=r"no (node|dolt) on PATH"):
        asked()


def test_a_server_of_our_own_is_asked_of_no_run_that_has_another(monkeypatch):
    for name, value in (("PATH", ""), ("CI", "true"), ("DOLT_WATCH_TEST_DATABASE", URL)):
        monkeypatch.setenv(name, value)
    with pytest.raises(pytest.skip.Exception, match="needs a server that the tests start"):
        own_dolt()


def test_nobody_skips_by_a_rule_of_their_own():
    """A test with its own rule could be skipped in CI."""
    here = Path(__file__).parents[1]
    words = [f"pytest.{word}(" for word in ("skip", "importorskip")] + [
        f"mark.{word}" for word in ("skip", "xfail")
    ]
    files = [file for part in ("unit", "docs") for file in (here / part).rglob("*.py")]
    assert [
        file.name for file in files if any(word in file.read_text("utf-8") for word in words)
    ] == []
