"""``load``: precedence of sources, origins of values, and reports."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dolt_watch.config import Settings, describe, load, rule_hash, settings_hash, to_canonical_json
from dolt_watch.config.converters import duration_text
from dolt_watch.core.model import Rule
from dolt_watch.engines.address import FileAddress, ServerAddress
from dolt_watch.targets.kubernetes.manifest import complete_job, pod_from_settings
from dolt_watch.targets.kubernetes.settings import KubernetesSettings
from dolt_watch.targets.local.environment import build
from dolt_watch.testing import make_task

URL = "dolt://ann@db.example:3310/beads"
FLAGS = {"database": URL}


def write(folder: Path, text: str) -> Path:
    path = folder / "dolt_watch.toml"
    path.write_text(text, "utf-8")
    return path


def shown(settings: Settings) -> dict[str, tuple[str, str]]:
    return {line.key: (line.value, line.origin) for line in describe(settings)}


def test_defaults_are_those_of_the_rule_itself(tmp_path: Path) -> None:
    settings = load(FLAGS, {}, tmp_path)
    assert settings.rules == (Rule(name="agent", on_unknown="retry"),), "its target is BeadBoard"
    assert settings.address == ServerAddress("db.example", 3310, "ann", "", "beads")
    assert (settings.settle, settings.adopt, settings.project_id) == (
        timedelta(seconds=2),
        True,
        None,
    )
    assert (settings.actor_dispatch, settings.actor_reap) == ("beads-dispatcher", "beads-reaper")
    assert list(settings.targets) == ["beadboard"]
    assert settings.targets["beadboard"].timeout == timedelta(seconds=30)
    assert set(shown(settings)) == set(settings.origins), (
        "config shows each setting, with its origin"
    )


def test_each_place_wins_over_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, '# first line\nsettle = "3s"\nadopt = false\n[rules.agent]\nmax_attempts = 7\n')
    settings = load(FLAGS, {}, tmp_path)
    assert (settings.settle, settings.origins["settle"]) == (
        timedelta(seconds=3),
        "dolt_watch.toml:2",
    )
    assert (settings.adopt, settings.origins["adopt"]) == (False, "dolt_watch.toml:3")
    assert (settings.rules[0].max_attempts, settings.origins["rules.agent.max_attempts"]) == (
        7,
        "dolt_watch.toml:5",
    )
    env = {
        "DOLT_WATCH_SETTLE": "4s",
        "DOLT_WATCH_ADOPT": "",
    }
    settings = load(FLAGS, env, tmp_path)
    assert (settings.settle, settings.origins["settle"]) == (
        timedelta(seconds=4),
        "DOLT_WATCH_SETTLE",
    )
    assert settings.rules[0].max_attempts == 7
    assert settings.adopt is False, "an empty variable counts as not set"
    flags = {
        **FLAGS,
        "set": ("settle=5s", "rules.agent.when=a = 'b=c'", "rules.agent.max_attempts=8"),
    }
    settings = load(flags, env, tmp_path)
    assert (settings.settle, settings.origins["settle"]) == (timedelta(seconds=5), "--set settle")
    assert settings.rules[0].when == "a = 'b=c'"
    assert settings.rules[0].max_attempts == 8


def test_rules_keep_the_order_of_the_file_and_replace_the_default_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        "[rules.zeta]\n[rules.alpha-2]\nwhen = \"assignee = 'alpha'\"\nstale_after = '1h30m'\n",
    )
    settings = load({**FLAGS, "set": ("rules.alpha-2.on_stale=requeue",)}, {}, tmp_path)
    assert [rule.name for rule in settings.rules] == ["zeta", "alpha-2"]
    assert settings.rules[1].stale_after == timedelta(minutes=90)
    assert settings.rules[1].on_stale == "requeue"


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        (
            '[rules.agent]\nwhen = """\nsettle = 1 AND\n"""\norder_by = "id"\n',
            "rules.agent.order_by",
            5,
        ),
        ("rules.agent.order_by = 'id'\n", "rules.agent.order_by", 1),
        (
            '# write """ for long ones\n[rules.agent]\norder_by = \'id\'\n',
            "rules.agent.order_by",
            3,
        ),
        ("adopt = true # '''\n[rules.agent]\norder_by = 'id'\n", "rules.agent.order_by", 3),
        ("[rules.agent]\nwhen = \"a = ''''\"\norder_by = 'id'\n", "rules.agent.order_by", 3),
        (
            '[rules.agent]\nwhen = """\na\\"""\norder_by = 1\n"""" # """\norder_by = "id"\n',
            "rules.agent.order_by",
            6,
        ),
        ("[rules.agent]\nwhen = '''\nx '''\norder_by = 'id'\n", "rules.agent.order_by", 4),
        ("\n[ rules . 'agent' ] # here\n  'order_by'='id'\n", "rules.agent.order_by", 3),
        ("\nrules = {agent = {order_by = 'id'}}\n", "rules.agent.order_by", 2),
        ("[rules]\n\nagent = {order_by = 'id'}\n", "rules.agent.order_by", 3),
    ],
)
def test_the_line_of_a_value_however_it_is_written(
    tmp_path: Path, text: str, key: str, line: int
) -> None:
    write(tmp_path, text)
    settings = load(FLAGS, {}, tmp_path)
    assert (settings.rules[0].order_by, settings.origins[key]) == ("id", f"dolt_watch.toml:{line}")


def test_the_file_is_found_above_and_inside_dot_beads(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    write(tmp_path, "settle = '7s'")
    assert load(FLAGS, {}, below).settle == timedelta(seconds=7)
    beads = tmp_path / "a" / ".beads"
    beads.mkdir()
    write(beads, "settle = '8s'")
    assert load(FLAGS, {}, below).settle == timedelta(seconds=8), "the nearest one"
    other = tmp_path / "other.toml"
    other.write_text("settle = '9s'")
    assert load(FLAGS, {"DOLT_WATCH_CONFIG": str(other)}, below).settle == timedelta(seconds=9)
    assert load({**FLAGS, "config": "../../other.toml"}, {}, below).settle == timedelta(seconds=9)


def test_the_file_beside_beads_dir(tmp_path: Path) -> None:
    (tmp_path / "repo" / ".beads").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    write(tmp_path / "repo", "settle = '7s'")
    settings = load(FLAGS, {"BEADS_DIR": str(tmp_path / "repo" / ".beads")}, tmp_path / "work")
    assert settings.settle == timedelta(seconds=7)


def test_a_database_from_the_file_from_the_environment_and_from_the_flag(tmp_path: Path) -> None:
    write(tmp_path, 'database = "doltlite:///one.db"')
    assert load({}, {}, tmp_path).address == FileAddress("/one.db")
    env = {"DOLT_WATCH_DATABASE": "doltlite:///two.db"}
    assert load({}, env, tmp_path).address == FileAddress("/two.db")
    settings = load({"database": "doltlite:///three.db"}, env, tmp_path)
    assert settings.address == FileAddress("/three.db")
    assert shown(settings)["database"] == ("doltlite:///three.db", "--database")


def test_beadboard_url_fills_in_and_what_is_said_to_us_wins(tmp_path: Path) -> None:
    env = {"BEADBOARD_URL": "http://board:3000"}
    settings = load(FLAGS, env, tmp_path)
    assert settings.targets["beadboard"].url == "http://board:3000"
    assert settings.origins["targets.beadboard.url"] == "BEADBOARD_URL"
    env["DOLT_WATCH_TARGETS_BEADBOARD_URL"] = "http://ours"
    assert load(FLAGS, env, tmp_path).targets["beadboard"].url == "http://ours"
    write(
        tmp_path,
        '[rules.agent]\ntarget="b2"\n[targets.b2]\ntimeout="5s"\n[targets.b3]\nurl="http://own"\n',
    )
    targets = load(FLAGS, {"BEADBOARD_URL": "http://board"}, tmp_path).targets
    assert {name: each.url for name, each in targets.items()} == {
        "b2": "http://board",
        "b3": "http://own",
    }


def test_links_from_the_file_and_from_the_environment(tmp_path: Path) -> None:
    write(tmp_path, "[links]\nbead = 'https://h/{id}'\njob = 'https://h/jobs/{job}'")
    settings = load(FLAGS, {"DOLT_WATCH_LINKS_JOB": "https://other/{job}"}, tmp_path)
    assert settings.links == ("https://h/{id}", "https://other/{job}", "")
    assert shown(settings)["links.bead"] == ("https://h/{id}", "dolt_watch.toml:2")
    assert settings_hash(settings) == settings_hash(load(FLAGS, {}, tmp_path.parent))


def test_secrets_are_nowhere_to_be_read(tmp_path: Path) -> None:
    env = {"DOLT_WATCH_PASSWORD": "pa55", "BEADBOARD_URL": "http://me:t0ken@board/?key=k3y"}
    settings = load(FLAGS, env, tmp_path)
    assert isinstance(settings.address, ServerAddress)
    assert settings.address.password == "pa55"
    assert shown(settings)["password"] == ("********", "DOLT_WATCH_PASSWORD")
    assert [line.key for line in describe(settings) if line.secret] == ["password"]
    told = repr(settings) + repr(describe(settings)) + to_canonical_json(settings)
    assert not [secret for secret in ("pa55", "t0ken", "k3y") if secret in told]
    assert "http" not in to_canonical_json(settings) and "db.example" not in to_canonical_json(
        settings
    )


def test_hashes_move_with_what_they_are_of(tmp_path: Path) -> None:
    one = load(FLAGS, {}, tmp_path)
    write(tmp_path, 'settle = "2000ms"\n[rules.agent]\nstale_after = "0.5h"\n')
    same = load({"database": "dolt://else/where"}, {"BEADBOARD_URL": "http://x"}, tmp_path)
    assert to_canonical_json(one) == to_canonical_json(same), "the same meaning, written otherwise"
    assert len(settings_hash(one)) == 16
    assert '"stale_after":"30m"' in to_canonical_json(one)
    other = load({**FLAGS, "set": ["adopt=no"]}, {}, tmp_path)
    assert settings_hash(other) != settings_hash(one)
    rule = one.rules[0]
    assert rule_hash(replace(rule, max_attempts=9, target="x")) == rule_hash(rule)
    others = [
        replace(rule, when="id"),
        replace(rule, running="id"),
        replace(rule, order_by="id"),
        rule,
    ]
    assert len({rule_hash(each) for each in others}) == 4


@pytest.mark.parametrize("text", ["0s", "2s", "1.5s", "30m", "1h30m", "48h", "1h0.000001s", "1m1s"])
def test_durations_are_written_as_they_are_read(tmp_path: Path, text: str) -> None:
    assert duration_text(load({**FLAGS, "set": [f"settle={text}"]}, {}, tmp_path).settle) == text


def test_variables_that_are_not_settings_are_left_alone(tmp_path: Path) -> None:
    names = ["TEST_DATABASE", "DEBUG", "SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_9090_TCP_ADDR"]
    load(FLAGS, {f"DOLT_WATCH_{name}": "1" for name in names}, tmp_path)


def test_an_agent_may_run_commands_of_dolt_watch(tmp_path: Path) -> None:
    """The variables of each kind that runs agents are those that the target sets."""
    local = build((), {}, bead="bd-1", actor="agent", token="t", beads_dir=None)
    settings, manifest = KubernetesSettings("k"), pod_from_settings(KubernetesSettings("k"))
    job = complete_job(manifest, settings, make_task(), "t", "a prompt")
    [container] = job["spec"]["template"]["spec"]["containers"]
    pod = {each["name"]: each["value"] for each in container["env"]}
    for variables in (local, pod):
        assert any(name.startswith("DOLT_WATCH_") for name in variables)
        load(FLAGS, variables, tmp_path)


def test_importing_it_is_cheap() -> None:
    heavy = (
        "difflib durationpy configparser json tomllib sqlglot orjson pymysql doltlite"
        " dolt_watch.config.toml_positions"
    )
    code = f"import sys, dolt_watch.config; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    """Some editors write it."""
    for name, text in (
        ("dolt_watch.toml", "settle = '3s'"),
        ("password", "pa55"),
        ("credentials", "[h:3306]\npassword = 5ecret"),
    ):
        (tmp_path / name).write_text(text, "utf-8-sig")
    flags, password = {"database": "dolt://h/d"}, {"DOLT_WATCH_PASSWORD_FILE": "password"}
    settings = load(flags, password, tmp_path)
    assert (settings.settle.total_seconds(), settings.address.password) == (3, "pa55")  # type: ignore[union-attr]
    address = load(flags, {"BEADS_CREDENTIALS_FILE": "credentials"}, tmp_path).address
    assert address.password == "5ecret"  # type: ignore[union-attr]
