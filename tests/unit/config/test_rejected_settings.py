"""Invalid settings: each error contains the value, the place and a fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from dolt_watch.config import describe, load
from dolt_watch.config.sources import RULE
from dolt_watch.errors import SettingsError
from dolt_watch.targets import registry

FLAGS = {"database": "dolt://h/d"}


def refused(flags: dict[str, object], env: dict[str, str], cwd: Path) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(flags, env, cwd)
    error = caught.value
    assert error.exit_code == 2
    assert error.message and error.where and error.fix
    return error


@pytest.mark.parametrize(
    ("text", "line", "message", "fix"),
    [
        ("\nsetle = '2s'", 2, "There is no key 'setle'.", "settle"),
        (
            "[rules.agent]\nstale_afer = '2s'",
            2,
            "There is no [rules.agent] key 'stale_afer'.",
            "stale_after",
        ),
        (
            "[rules.agent]\n\nstale_after = '30x'",
            3,
            "rules.agent.stale_after must be a duration",
            "'30m'",
        ),
        ("settle = 2", 1, "a duration", "'2s'"),
        ("settle = '2'", 1, "a duration", "'2s'"),
        ("settle = true", 1, "a duration", "'30s'"),
        ("settle = nan", 1, "a duration", "'30s'"),
        ('# a """\nsettle = \'30x\'', 2, "a duration", "30m"),
        ("settle = '-2s'", 1, "a positive duration", "'2s'"),
        ("settle = ' 2s'", 1, "a duration", "Use"),
        ("settle = '99999h'", 1, "at most 8784h", "8784h"),
        ("[rules.a]\nstale_after = '0s'", 2, "more than 0", "30s"),
        ("[targets.beadboard]\ntimeout = '2h'", 2, "at most 1h", "1h"),
        ("adopt = 'yes'", 1, "true or false", "adopt = true"),
        ("adopt = 1", 1, "true or false", "adopt = true"),
        ("[rules.a]\nmax_in_flight = 0", 2, "a whole number from 1", "max_in_flight = 1"),
        ("[rules.a]\nmax_attempts = '5'", 2, "a whole number", "max_attempts = 1"),
        ("[rules.a]\nmax_attempts = true", 2, "a whole number", "max_attempts"),
        ("[rules.a]\nwhen = 5", 2, "text", "quotes"),
        ("[rules.a]\nwhen = ' '", 2, "not empty", "default"),
        ("[rules.a]\nwhen = {x = 1}", 2, "text", "quotes"),
        ("[rules.a]\non_stale = 'requeu'", 2, "one of block, requeue", "requeue"),
        ("[rules.a]\ntarget = 'beadbord'", 2, "There is no target 'beadbord'.", "beadboard"),
        ("[targets.x]\nkind = 'telepathy'", 2, "one of beadboard", "beadboard"),
        ("[targets.x]\nurll = 'http://h'", 2, "urll", "url"),
        ("links = 'x'", 1, "links must be a table", "[links]"),
        ("[links]\nbeed = 'https://h/{id}'", 2, "There is no [links] key 'beed'.", "bead"),
        ("[links]\nbead = 'https://h/bead'", 2, "a URL that contains {id}", "https://…/{id}"),
        ("[links]\njob = 'javascript:alert({job})'", 2, "a URL that contains {job}", "https://"),
        ("\n[links.bead]\nurl = 'x'", 2, "links.bead must be text, but is a table", "quotes"),
        ("[notify.target.a.b]\nc = 1", 1, "notify.target must be text, but is a table", "quotes"),
        ("[rules]\nwhen = 'x'", 2, "rules.when must be a table", "[rules.NAME]"),
        ("[[rules]]\nwhen = 'x'", 1, "rules must be a table", "[rules.NAME]"),
        ("rules = 5", 1, "rules must be a table", "[rules.NAME]"),
        ("\n[rules.'a b']\n", 2, "The name of a rule", "Rename"),
        ("\n[rulez.a]\nwhen='x'", 2, "There is no key 'rulez'.", "rules"),
        ('actor_reap = "a\\nb"', 1, "printable", "beads-dispatcher"),
        ("password = 'pa55'", 1, "Passwords aren't allowed", "DOLT_WATCH_PASSWORD"),
        ("database = 'mysql://h/d'", 1, "begins with dolt://", "dolt://"),
        ("database = 'dolt://u:pa55@h/d'", 1, "must not contain a password", "DOLT_WATCH_PASSWORD"),
        (
            "database = 'dolt://u:pa55#x@h/d'",
            1,
            "must not contain a password",
            "DOLT_WATCH_PASSWORD",
        ),
        (
            "database = 'dolt://u:pa55/x@h/d'",
            1,
            "must not contain a password",
            "DOLT_WATCH_PASSWORD",
        ),
        (
            "database = 'dolt://u:12/pa55@h/d'",
            1,
            "must not contain a password",
            "DOLT_WATCH_PASSWORD",
        ),
        (
            "database = 'dolt://u:pa55?x@h/d'",
            1,
            "must not contain a password",
            "DOLT_WATCH_PASSWORD",
        ),
        ("database = 'dolt:u:pa55@h/d'", 1, "must not contain a password", "DOLT_WATCH_PASSWORD"),
        ("database = 'dolt://u@h:x/d'", 1, "not a database URL", "dolt://"),
        ("settle = '2s'\nsettle", 2, "not TOML", "key ="),
        ("settle = '2s'\n\nsettle = '3s'\n", 3, "not TOML", "key ="),
        ("[rules.a", 1, "not TOML", "key ="),
        ("\n\nrules.a.when.x = 'y'", 3, "text", "quotes"),
        ("[targets.webhook]\ntoken_file = '~no-such-user/t'", 2, "home folder", "absolute path"),
        ('[targets.webhook]\ntoken_file = "a\\u0000b"', 2, "can't contain NUL", "absolute path"),
    ],
)
def test_in_the_file(tmp_path: Path, text: str, line: int, message: str, fix: str) -> None:
    path = tmp_path / "dolt_watch.toml"
    path.write_text(text, "utf-8")
    error = refused({} if "database" in text else dict(FLAGS), {}, tmp_path)
    assert error.where == f"{path}:{line}"
    assert message in error.message
    assert fix in (error.fix or "")
    assert "pa55" not in str(error)


@pytest.mark.parametrize(
    ("name", "value", "message", "fix"),
    [
        ("SETLE", "2s", "There is no setting DOLT_WATCH_SETLE.", "DOLT_WATCH_SETTLE"),
        ("settle", "2s", "There is no setting", "DOLT_WATCH_SETTLE"),
        ("PASSWROD", "pa55", "There is no setting", "DOLT_WATCH_PASSWORD"),
        ("SETTLE", "30x", "a duration", "30m"),
        ("ADOPT", "maybe", "true or false", "Use true"),
        *[
            (
                f"RULES_AGENT_{key.upper()}",
                "1",
                f"rules.agent.{key} has no environment variable",
                f"dolt_watch.toml, or with --set rules.agent.{key}=",
            )
            for key in RULE
        ],
        ("RULES_AGENT_TARGET", "", "has no environment variable", "--set rules.agent.target="),
        ("RULES_AGENT_STALE_AFTR", "2m", "There is no setting", "--set rules.NAME.KEY="),
        ("RULES_AGNET_STALE_AFTER", "2m", "There is no setting", "--set rules.NAME.KEY="),
        *[
            (
                f"TARGETS_{kind.upper().replace('-', '_')}_{key.upper()}",
                "x",
                f"targets.{kind}.{key} has no environment variable",
                f"dolt_watch.toml, or with --set targets.{kind}.{key}=",
            )
            for kind in registry.BUILT_IN
            for key, type_ in registry.setting_types(kind).items()
            if type_ != "secret" and not key.endswith("url")
        ],
        ("TARGETS_BORD_URL", "http://h", "There is no setting", "DOLT_WATCH_TARGETS_BEADBOARD_URL"),
        ("TARGETS_WEBHOOK_URL", "http://h/\udcff", "UTF-8", "UTF-8"),
        ("ACTOR_REAP", "\udcff", "UTF-8", "UTF-8"),
        ("LINKS_BED", "x", "There is no setting", "DOLT_WATCH_LINKS_BEAD"),
        ("NOTIFY_TARGTE", "x", "There is no setting", "DOLT_WATCH_NOTIFY_TARGET"),
        ("DATABASE", "h/d", "begins with dolt://", "dolt://"),
        (
            "PASSWORD_FILE",
            "not-there",
            "Can't read the password file",
            "DOLT_WATCH_PASSWORD_FILE",
        ),
        ("CONFIG", "not-there", "Can't read the settings file", "--config"),
        ("CONFIG", "~no-such-user/x", "home folder", "absolute path"),
        ("PASSWORD_FILE", "~no-such-user/x", "home folder", "absolute path"),
    ],
)
def test_in_the_environment(tmp_path: Path, name: str, value: str, message: str, fix: str) -> None:
    error = refused(
        {} if name == "DATABASE" else dict(FLAGS), {f"DOLT_WATCH_{name}": value}, tmp_path
    )
    assert message in error.message
    assert fix in (error.fix or "")
    assert f"DOLT_WATCH_{name}" in (error.where or "") or "not-there" in (error.where or "")
    assert "pa55" not in str(error)


@pytest.mark.parametrize(
    ("assignment", "message", "fix"),
    [
        ("settle", "KEY=VALUE", "--set rules.agent.stale_after=15m"),
        ("setle=2s", "There is no setting 'setle'.", "settle"),
        ("settle=2", "a duration", "'2s'"),
        ("rules.agnet.when=x", "There is no rule 'agnet'.", "agent"),
        ("rules.agent.wen=x", "There is no [rules.agent] key", "when"),
        ("rules.agent=x", "There is no setting", "rules.agent"),
        ("targets.x.url=y", "There is no target", "beadboard"),
        ("password=pa55", "aren't allowed on a command line", "DOLT_WATCH_PASSWORD"),
        ("=x", "There is no setting", "settle"),
        ('targets.command.argv=["\udcff"]', "text in UTF-8", "UTF-8"),
        (r'targets.command.argv=["\ud800"]', "text in UTF-8", "UTF-8"),
        (r'targets.webhook.headers={"\ud800": "x"}', "text in UTF-8", "UTF-8"),
        (r'targets.webhook.headers={"x": "\ud800"}', "text in UTF-8", "UTF-8"),
    ],
)
def test_in_a_flag(tmp_path: Path, assignment: str, message: str, fix: str) -> None:
    error = refused({**FLAGS, "set": (assignment,)}, {}, tmp_path)
    assert message in error.message
    assert fix in (error.fix or "")
    assert "pa55" not in str(error)


@pytest.mark.parametrize(
    ("names", "word"),
    [(("a-b", "a_b"), "A_B_URL"), (("x", "x-service"), "X_SERVICE_URL")],
)
def test_two_targets_that_the_environment_cannot_tell_apart(
    tmp_path: Path, names: tuple[str, str], word: str
) -> None:
    (tmp_path / "dolt_watch.toml").write_text("".join(f"[targets.{name}]\n" for name in names))
    load(FLAGS, {}, tmp_path)
    error = refused(dict(FLAGS), {f"DOLT_WATCH_TARGETS_{word}": "http://h"}, tmp_path)
    assert f"each of {', '.join(names)}" in error.message
    assert "--set targets." in (error.fix or "")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "dolt_watch.toml").write_bytes(b"settle = '\xff'")
    assert "not UTF-8" in refused(dict(FLAGS), {}, tmp_path).message


def test_a_file_that_nests_too_deeply(tmp_path: Path) -> None:
    (tmp_path / "dolt_watch.toml").write_text("x = " + "[" * 50_000)
    assert "not TOML" in refused(dict(FLAGS), {}, tmp_path).message


@pytest.mark.parametrize("path", ["", "~no-such-user/dolt_watch.toml"])
def test_a_file_named_by_the_flag(tmp_path: Path, path: str) -> None:
    """An empty path, as of an unset variable of a shell, must not mean another file."""
    (tmp_path / "dolt_watch.toml").write_text("settle = '3s'")
    assert refused({**FLAGS, "config": path}, {}, tmp_path).where == "--config"


@pytest.mark.parametrize(
    "name", ["BEADS_DIR", "BEADS_CREDENTIALS_FILE", "BEADS_SHARED_SERVER_DIR", "BEADS_DIR in .env"]
)
def test_a_home_folder_that_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / ".beads").mkdir()
    (tmp_path / ".beads/metadata.json").write_text('{"dolt_mode": "server"}')
    env = {name: "~no-such-user/x", "BEADS_DOLT_SHARED_SERVER": "1"}
    if "env" in name:
        (tmp_path / ".beads/.env").write_text("BEADS_DIR=~no-such-user/x")
    error = refused({}, env, tmp_path)
    assert error.message == "Can't find the home folder of the path '~no-such-user/x'."
    assert name == error.where or f"{tmp_path}/.beads/.env:1" == error.where


def test_a_current_folder_that_was_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SettingsError, match="Can't find the current folder") as caught:
        load(FLAGS, {"PWD": str(gone)})
    assert caught.value.where == str(gone)


@pytest.mark.parametrize("key", ["dolt_database", "dolt_server_user", "project_id"])
def test_a_text_of_bd_that_is_not_utf_8(tmp_path: Path, key: str) -> None:
    (tmp_path / ".beads").mkdir()
    (tmp_path / ".beads/metadata.json").write_text(f'{{"dolt_mode": "server", "{key}": "\\ud800"}}')
    assert f"{key} must be text in UTF-8" in refused({}, {}, tmp_path).message


def test_a_settings_file_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "\udcff.toml").write_text("settle = '3s'")
    found = describe(load({**FLAGS, "config": "\udcff.toml"}, {}, tmp_path))
    (origin,) = [each.origin for each in found if each.key == "settle"]
    assert origin == "\\udcff.toml:1"


@pytest.mark.parametrize("variable", ["BEADBOARD_URL", "CLAUDE_AGENT_SERVICE_URL"])
def test_a_variable_of_a_service_that_is_not_utf_8(tmp_path: Path, variable: str) -> None:
    error = refused(dict(FLAGS), {variable: "http://h/\udcff"}, tmp_path)
    assert (error.where, "must be text in UTF-8" in error.message) == (variable, True)
