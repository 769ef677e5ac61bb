"""Settings of targets: keys of each kind, and the sources of secrets.

An idle tick imports no target.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dolt_watch.config import Settings, describe, load, to_canonical_json
from dolt_watch.errors import SettingsError
from dolt_watch.targets import registry
from dolt_watch.targets.agent_service_settings import AgentServiceSettings
from dolt_watch.targets.webhook_settings import WebhookSettings
from tests.stubs.webhook import SECRET
from tests.support.targets import open_target
from tests.unit.cli.test_options import run

FLAGS = {"database": "dolt://h/d"}
TOML = """[rules.agent]
target = "agent-service"

[targets.agent-service]
url = "http://agents:8080"
token_file = "token"
max_budget_usd = 2.5

[targets.hook]
kind = "webhook"
url = "https://me:pa55@hooks/x?key=k3y"
headers = {X-Team = "a"}

[targets.local]
kind = "command"
argv = ["/bin/x", "-v"]
"""


def read(folder: Path, text: str = TOML, **env: str) -> Settings:
    (folder / "dolt_watch.toml").write_text(text, "utf-8")
    (folder / "token").write_text("t0ken-in-a-file\n", "utf-8")
    return load(FLAGS, env, folder)


@pytest.mark.parametrize("kind", registry.BUILT_IN)
def test_each_kind_has_its_settings_and_somebody_who_opens_it(kind: str) -> None:
    made = registry.settings_class(kind)(name="x")
    assert made.kind == kind
    assert callable(registry.factory(kind))


def test_config_shows_each_key_of_each_kind_with_its_origin_and_no_secret(tmp_path: Path) -> None:
    read(tmp_path)
    env = {
        "DOLT_WATCH_TARGETS_HOOK_SECRET": "whsec_hidden-hidden",
    }
    done = run(
        tmp_path,
        "config",
        "--format",
        "json",
        "--database",
        "dolt://h/d",
        "--set",
        "targets.hook.source=s",
        "--set",
        "targets.local.timeout=5s",
        **env,
    )
    assert done.returncode == 0, done.stderr
    told = {key: (each["value"], each["origin"]) for key, each in json.loads(done.stdout).items()}
    wanted = {
        "targets.agent-service.kind": ("agent-service", "default"),
        "targets.agent-service.url": ("http://agents:8080", "dolt_watch.toml:5"),
        "targets.agent-service.token": ("********", str(tmp_path / "token")),
        "targets.agent-service.max_budget_usd": ("2.5", "dolt_watch.toml:7"),
        "targets.agent-service.run_timeout": ("15m", "default"),
        "targets.agent-service.prompt_template": ("not set", "default"),
        "targets.hook.url": ("https://********@hooks/x?********", "dolt_watch.toml:11"),
        "targets.hook.secret": ("********", "DOLT_WATCH_TARGETS_HOOK_SECRET"),
        "targets.hook.previous_secret": ("not set", "default"),
        "targets.hook.headers": ('{"X-Team":"a"}', "dolt_watch.toml:12"),
        "targets.hook.source": ("s", "--set targets.hook.source"),
        "targets.local.argv": ('["/bin/x","-v"]', "dolt_watch.toml:16"),
        "targets.local.timeout": ("5s", "--set targets.local.timeout"),
    }
    assert {key: told[key] for key in wanted} == wanted
    assert "targets.local.url" not in told
    assert not [secret for secret in ("t0ken", "hidden", "pa55", "k3y") if secret in done.stdout]


DOCS = Path(__file__).parents[3] / "docs/targets.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=[text.splitlines()[0] for text in EXAMPLES])
def test_what_the_page_shows_opens(tmp_path: Path, text: str) -> None:
    for name in re.findall(r'_file = "([^"]*)"', text):
        (tmp_path / Path(name).name).write_text(SECRET, "utf-8")
        text = text.replace(name, Path(name).name)
    for name in re.findall(r'_template = "([^"]*)"', text):
        (tmp_path / name).write_text("{{ bead.id }}", "utf-8")
    name = tomllib.loads(text)["targets"].popitem()[0]
    open_target(read(tmp_path, text).targets[name]).close()


def test_which_place_of_a_secret_wins(tmp_path: Path) -> None:
    def token(text: str = TOML, **env: str) -> tuple[str, str]:
        made = read(tmp_path, text, **env)
        target = made.targets["agent-service"]
        assert isinstance(target, AgentServiceSettings)
        return target.token, made.origins["targets.agent-service.token"]

    known, ours = {"API_BEARER_TOKEN": "known"}, {"DOLT_WATCH_TARGETS_AGENT_SERVICE_TOKEN": "ours"}
    assert token(**known, **ours) == ("ours", "DOLT_WATCH_TARGETS_AGENT_SERVICE_TOKEN")
    assert token(**known) == ("t0ken-in-a-file", str(tmp_path / "token"))
    bare = TOML.replace('token_file = "token"', "")
    assert token(bare, **known) == ("known", "API_BEARER_TOKEN")
    assert token(bare) == ("", "default")


def test_secrets_are_in_no_repr_and_in_no_decision(tmp_path: Path) -> None:
    made = read(tmp_path, DOLT_WATCH_TARGETS_HOOK_SECRET="whsec_hidden-hidden")
    hook = made.targets["hook"]
    assert isinstance(hook, WebhookSettings) and hook.secret == "whsec_hidden-hidden"
    told = repr(made) + to_canonical_json(made) + repr(describe(made))
    assert not [secret for secret in ("t0ken", "hidden", "pa55", "k3y") if secret in told]


def test_paths_are_relative_to_where_they_are_named(tmp_path: Path) -> None:
    above = tmp_path / "above"
    below = above / "below"
    below.mkdir(parents=True)
    (above / "dolt_watch.toml").write_text("[targets.agent-service]\nprompt_template = 'p.j2'\n")
    for flags, folder in (
        ((), above),
        (("targets.agent-service.prompt_template=p.j2",), below),
    ):
        target = load({**FLAGS, "set": flags}, {}, below).targets["agent-service"]
        assert (
            isinstance(target, AgentServiceSettings) and target.prompt_template == folder / "p.j2"
        )


def test_the_kind_from_a_flag_decides_which_keys_there_are(tmp_path: Path) -> None:
    read(tmp_path, "[targets.x]\nurl = 'http://h'\n")
    flags = {**FLAGS, "set": ["targets.x.kind=webhook", "targets.x.job_key=id"]}
    made = load(flags, {}, tmp_path).targets["x"]
    assert isinstance(made, WebhookSettings) and (made.kind, made.job_key) == ("webhook", "id")
    flag = load({**FLAGS, "set": ["targets.x.kind=agent-service"]}, {}, tmp_path).targets["x"]
    assert isinstance(flag, AgentServiceSettings)


@pytest.mark.parametrize(
    ("text", "env", "where", "said", "fix"),
    [
        (
            "[targets.x]\nservice_ulr = 'h'",
            {},
            "toml:2",
            "service_ulr",
            "Did you mean service_url?",
        ),
        ("[targets.webhook]\njobkey = 'h'", {}, "toml:2", "jobkey", "Did you mean job_key?"),
        (
            "[targets.command]\nurl = 'h'",
            {},
            "toml:2",
            "There is no [targets.command] key 'url'.",
            "argv",
        ),
        ("[targets.agent-service]\nbudget = 5", {}, "toml:2", "budget", "max_budget_usd"),
        (
            "[targets.webhook]\nsecret = 'x'",
            {},
            "toml:2",
            "isn't allowed",
            "DOLT_WATCH_TARGETS_WEBHOOK_SECRET",
        ),
        ("[targets.x]\nname = 'y'", {}, "toml:2", "There is no [targets.x] key 'name'.", "url"),
        ("[targets.x]\nplaces = 'y'", {}, "toml:2", "There is no [targets.x] key 'places'.", "url"),
        ("[targets.x]\nkind = 'webhok'", {}, "toml:2", "one of", "Did you mean webhook?"),
        ("[targets.x]\nkind = 5", {}, "toml:2", "text", "quotes"),
        (
            "",
            {"DOLT_WATCH_TARGETS_WEBHOOK_SECRTE": "x"},
            "SECRTE",
            "There is no",
            "DOLT_WATCH_TARGETS_WEBHOOK_SECRET",
        ),
        (
            "",
            {"DOLT_WATCH_TARGETS_BEADBOARD_ARGV": "[]"},
            "ARGV",
            "There is no setting",
            "DOLT_WATCH_TARGETS",
        ),
    ],
)
def test_what_a_kind_does_not_have(
    tmp_path: Path, text: str, env: dict[str, str], where: str, said: str, fix: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text, **env)
    assert (
        where in (caught.value.where or "")
        and said in caught.value.message
        and fix in (caught.value.fix or "")
    )


@pytest.mark.parametrize(
    ("assignment", "said", "fix"),
    [
        ("targets.webhook.headers={x", "a table of texts", '{"name": "…"}'),
        ("targets.agent-service.max_budget_usd=-1", "a number above 0", "Use 5"),
    ],
)
def test_a_value_of_the_wrong_type_in_a_flag(
    tmp_path: Path, assignment: str, said: str, fix: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load({**FLAGS, "set": [assignment]}, {}, tmp_path)
    assert caught.value.where == f"--set {assignment.partition('=')[0]}"
    assert said in caught.value.message and fix in (caught.value.fix or "")


def test_a_secret_has_no_place_on_a_command_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="isn't allowed") as caught:
        load({**FLAGS, "set": ["targets.webhook.secret=pa55"]}, {}, tmp_path)
    assert "pa55" not in str(caught.value)


def test_reading_settings_imports_no_target_and_no_kind_that_nobody_uses(tmp_path: Path) -> None:
    read(tmp_path, "[rules.agent]\ntarget = 'agent-service'\n")
    heavy = (
        "jinja2 standardwebhooks httpx importlib.metadata dolt_watch.targets.http_client"
        " dolt_watch.targets.local.settings dolt_watch.targets.webhook_settings"
    )
    code = (
        "import sys, dolt_watch.config as s\ns.load({'database': 'dolt://h/d'},"
        " {'API_BEARER_TOKEN': 'x', 'DOLT_WATCH_TARGETS_AGENT_SERVICE_URL':"
        f" 'http://h'}})\nprint([m for m in {heavy.split()} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
