"""The TIME parser that all commands share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from dolt_watch.cli.times import absolute, parse_end, parse_time, resolve_time
from dolt_watch.engines.address import FileAddress
from dolt_watch.errors import SettingsError
from tests.support.commands import Commands, commands

pytestmark = pytest.mark.long

NOW = datetime(2026, 4, 18, 22, 35, 46, tzinfo=UTC)
MIDNIGHT = datetime(2026, 4, 18, tzinfo=UTC)


@pytest.fixture
def cli(doltlite_path: FileAddress) -> Iterator[Commands]:
    with commands(doltlite_path) as made:
        yield made


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-04-01", datetime(2026, 4, 1, tzinfo=UTC)),
        ("2026-04-01T10:00:00Z", datetime(2026, 4, 1, 10, tzinfo=UTC)),
        ("2026-04-01T10:00:00+02:00", datetime(2026, 4, 1, 8, tzinfo=UTC)),
        ("2h", NOW - timedelta(hours=2)),
        (" 1h30m ", NOW - timedelta(minutes=90)),
        ("1.5h", NOW - timedelta(minutes=90)),
        ("200ms", NOW - timedelta(milliseconds=200)),
        ("2w3d", NOW - timedelta(days=17)),
        ("yesterday", MIDNIGHT - timedelta(days=1)),
        ("Today", MIDNIGHT),
        ("tomorrow", MIDNIGHT + timedelta(days=1)),
    ],
)
def test_a_moment(text: str, moment: datetime) -> None:
    assert parse_time(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("", "2", "-2h", "2h2h", "2 hours", "noon", "2026-13-99", "0001-01-01", "9999-12-31"),
        *("99999999w", "HEAD", "1d2d3d4d", "3dc0"),
    ],
)
def test_no_moment(text: str) -> None:
    assert parse_time(text, NOW) is None


def test_a_duration_from_now_on() -> None:
    assert parse_time("2h", NOW, ahead=True) == NOW + timedelta(hours=2)


@pytest.mark.parametrize("text", ["", "2h2h!", "x'; --", "noon.", "2026-13-99", "3dc"])
def test_what_is_no_time_and_no_commit(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        absolute(text, NOW, "--since")
    assert str(caught.value).splitlines() == [
        f"{text!r} is not a valid time.",
        "  where: --since",
        "  fix:   Use a timestamp (2026-04-18T22:35:46Z), a duration (2h), 'today', 'yesterday', or"
        " a commit.",
    ]


@pytest.mark.parametrize("text", ["HEAD", "1d2d3d4d", "0q4f"])
def test_a_commit_stays_a_commit(text: str) -> None:
    assert absolute(text, NOW, "--from") == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("HEAD", "A commit can't be an end time, but --until is 'HEAD'."),
        ("0q4f1c2d", "A commit can't be an end time, but --until is '0q4f1c2d'."),
        ("noon!", "'noon!' is not a valid time."),
        ("yesterday", "--until must be in the future, but 'yesterday' is not after 2026-04-18T22"),
        ("0s", "--until must be in the future"),
    ],
)
def test_what_is_no_end(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_end(text, NOW, "--until")
    assert caught.value.message.startswith(message)
    assert "a duration from now (2h)" in (caught.value.fix or "")


def test_an_end() -> None:
    assert parse_end("90m", NOW, "--until") == NOW + timedelta(minutes=90)
    assert parse_end("tomorrow", NOW, "--until") == MIDNIGHT + timedelta(days=1)


COMMANDS = (
    ("log", "--since"),
    ("report", "-o", "x.html", "--since"),
    ("events", "--from"),
    ("events", "--to"),
    ("why", "bd-a", "--as-of"),
    ("replay", "--from"),
    ("replay", "--verify", "--to"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_takes_the_same_times(cli: Commands, words: tuple[str, ...]) -> None:
    """A duration that begins before history is a history error, not a syntax error."""
    commit = cli.here.assign("bd-a")
    cli.here.assign("bd-b")
    cli.here.tick()
    cli.here.assign("bd-c")
    for text in (commit, commit[:10], "HEAD"):
        assert cli.run(*words, text).returncode == 0, (text, cli.run(*words, text).stderr)
    for text in ("2h", "yesterday", "2026-04-18T22:35:46Z"):
        assert "is not a valid time" not in cli.run(*words, text).stderr
    refused = cli.run(*words, "noon!")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: 'noon!' is not a valid time.\n  where: --")


def test_the_moment_of_a_commit_is_its_date(cli: Commands) -> None:
    commit, engine = cli.here.assign("bd-a"), cli.here.engine
    found = engine.commit_of(commit)
    assert found is not None
    assert resolve_time(engine, commit[:10], NOW, "--since") == found.date
    assert resolve_time(engine, "2h", NOW, "--since") == NOW - timedelta(hours=2)
