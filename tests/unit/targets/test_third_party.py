"""The third-party target in examples/target.

The tests install it, configure it, dispatch to it, and run the conformance suite on it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dolt_watch.config import describe, load
from dolt_watch.core.model.target_answers import Accepted
from dolt_watch.errors import SettingsError
from dolt_watch.targets import registry
from tests.stubs.beads import task
from tests.stubs.server import Recorded, Reply, StubServer
from tests.support.targets import open_target

EXAMPLE = Path(__file__).parents[3] / "examples/target"
FILES = {file.name: file.read_text("utf-8") for file in EXAMPLE.iterdir() if file.is_file()}
FLAGS = {"database": "dolt://h/d"}


MORE = """

def plain(settings):
    return ("a target", settings)


@dataclass(frozen=True)
class Odd(TargetSettings):
    size: complex = 1j


class Wrong:
    Settings = Odd
"""


class AcmeStub(StubServer):
    def answer(self, request: Recorded) -> Reply:
        return Reply(201, {"run": "run-1"})


def install(folder: Path, **points: str) -> Path:
    """Create a distribution as pip installs it: modules and a ``dist-info`` folder."""
    site = folder / "site"
    about = site / "acme_runs-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "acme_runs.py").write_text(FILES["acme_runs.py"], "utf-8")
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-runs\nVersion: 1.0\n", "utf-8"
    )
    declared = tomllib.loads(FILES["pyproject.toml"])["project"]["entry-points"][registry.GROUP]
    lines = [f"{name} = {value}" for name, value in {**declared, **points}.items()]
    (about / "entry_points.txt").write_text(
        "\n".join([f"[{registry.GROUP}]", *lines]) + "\n", "utf-8"
    )
    return site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    site = install(
        tmp_path, broken="acme_none:Acme", plain="acme_runs:plain", wrong="acme_runs:Wrong"
    )
    with (site / "acme_runs.py").open("a", encoding="utf-8") as module:
        module.write(MORE)
    monkeypatch.syspath_prepend(str(site))
    registry._entry_points.cache_clear()
    yield site
    registry._entry_points.cache_clear()
    sys.modules.pop("acme_runs", None)


def test_installed_configured_and_dispatched_to(tmp_path: Path, site: Path) -> None:
    with AcmeStub() as stub:
        text = FILES["dolt_watch.toml"].replace("http://acme:8000", stub.url)
        (tmp_path / "dolt_watch.toml").write_text(text, "utf-8")
        flags = {**FLAGS, "set": ["targets.runs.timeout=5s"]}
        settings = load(flags, {"ACME_TOKEN": "s3cret-token"}, tmp_path)
        assert settings.rules[0].target == "runs"
        with closing(open_target(settings.targets["runs"])) as target:
            assert (target.name, target.timeout) == ("runs", 5.0)
            assert target.dispatch(task(), "token-1") == Accepted("run-1", 201)
        [request] = stub.requests
        assert (request.json["token"], request.json["queue"]) == ("token-1", "beads")
        assert request.headers["authorization"] == "Bearer s3cret-token"
    shown = {
        line.key: (line.value, line.origin.rpartition(":")[0] or line.origin)
        for line in describe(settings)
    }
    assert shown["targets.runs.token"] == ("********", "ACME_TOKEN")
    assert shown["targets.runs.queue"] == ("beads", "dolt_watch.toml")
    assert shown["targets.runs.timeout"] == ("5s", "--set targets.runs.timeout")
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ("kind = 'acme'\nqueu = 'x'", "queu", "Did you mean queue?"),
        ("kind = 'acme'\nurl = 5", "text", "quotes"),
        ("kind = 'acme'\ntoken = 'x'", "isn't allowed", "DOLT_WATCH_TARGETS_X_TOKEN"),
        ("kind = 'acne'", "acme", "Did you mean acme?"),
        (
            "kind = 'broken'",
            "Can't import the kind of target 'broken': ModuleNotFoundError",
            "pip install",
        ),
        ("kind = 'plain'\nurl = 'http://h'", "url", "kind, timeout"),
        ("kind = 'wrong'\nsize = 1", "has an unsupported type: complex.", "timedelta"),
    ],
)
def test_its_settings_are_checked_as_ours(
    tmp_path: Path, site: Path, text: str, said: str, fix: str
) -> None:
    (tmp_path / "dolt_watch.toml").write_text(f"[targets.x]\n{text}\n", "utf-8")
    with pytest.raises(SettingsError) as caught:
        load(FLAGS, {}, tmp_path)
    assert said in caught.value.message and fix in (caught.value.fix or "") and caught.value.where


def test_a_plain_function_will_do(tmp_path: Path, site: Path) -> None:
    (tmp_path / "dolt_watch.toml").write_text(
        "[targets.x]\nkind = 'plain'\ntimeout = '7s'\n", "utf-8"
    )
    settings = load(FLAGS, {}, tmp_path).targets["x"]
    assert open_target(settings) == ("a target", settings)


@pytest.mark.long
def test_the_page_passes_the_suite(tmp_path: Path) -> None:
    site = install(tmp_path)
    (tmp_path / "test_acme_runs.py").write_text(FILES["test_acme_runs.py"], "utf-8")
    code = (
        f"import sys, pytest; sys.path.insert(0, {str(site)!r});"
        " sys.exit(pytest.main(sys.argv[1:]))"
    )
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path / "test_acme_runs.py"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 20 and "skipped" not in done.stdout, done.stdout
