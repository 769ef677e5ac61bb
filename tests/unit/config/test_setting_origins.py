"""Table of the places in which bd looks for its database, with their precedence.

A real bd on PATH (or in ``BD``) must give the same results: `bd context --json`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import yaml

from dolt_watch.config import beads_yaml, dotenv, load
from dolt_watch.engines.address import ServerAddress
from dolt_watch.errors import SettingsError
from tests.support.servers import Choice, Source, give_up

META: dict[str, Any] = {
    "database": "dolt",
    "backend": "dolt",
    "dolt_mode": "server",
    "dolt_database": "tracker",
}
PORT = {**META, "dolt_server_port": 3001}
SHARED_PORT = 3308


def _json(**more: Any) -> str:
    return json.dumps({**META, **more})


class Case(NamedTuple):
    """Files below a folder and variables, with the expected address."""

    files: dict[str, str]
    """Path → content. ``@`` in a content or a variable is the folder."""
    expected: dict[str, Any]
    """Fields of the address. 'origin' is the origin of the first field."""
    env: Mapping[str, str] = MappingProxyType({})
    here: str = "project"
    since: tuple[int, ...] = (1, 0, 2)
    """The first bd release that agrees."""


M = "project/.beads/metadata.json"
Y = "project/.beads/config.yaml"
E = "project/.beads/.env"
P = "project/.beads/dolt-server.port"
LATER = (1, 0, 5)

CASES = {
    # -- the port, by descending precedence --------------------
    "BEADS_DOLT_SERVER_PORT before all": Case(
        {M: json.dumps(PORT), P: "3002", Y: "dolt.port: 3003", E: "BEADS_DOLT_SERVER_PORT=3004"},
        {"port": 3005, "origin": "BEADS_DOLT_SERVER_PORT"},
        {"BEADS_DOLT_SERVER_PORT": "3005", "BEADS_DOLT_PORT": "3006"},
    ),
    ".env before BEADS_DOLT_PORT": Case(
        {M: json.dumps(PORT), P: "3002", E: "BEADS_DOLT_SERVER_PORT=3004"},
        {"port": 3004, "origin": ".beads/.env:1"},
        {"BEADS_DOLT_PORT": "3006"},
    ),
    "BEADS_DOLT_PORT before the port file": Case(
        {M: json.dumps(PORT), P: "3002", Y: "dolt.port: 3003"},
        {"port": 3006, "origin": "BEADS_DOLT_PORT"},
        {"BEADS_DOLT_PORT": "3006"},
        # `bd context` prints the port of the port file, but commands connect to 3006 (store.go).
        since=(99,),
    ),
    "the port file before config.yaml": Case(
        {M: json.dumps(PORT), P: "3002\n", Y: "dolt.port: 3003"},
        {"port": 3002, "origin": ".beads/dolt-server.port"},
        {"BD_DOLT_PORT": "3007"},
    ),
    "BD_DOLT_PORT before config.yaml": Case(
        {M: json.dumps(PORT), Y: "dolt.port: 3003"},
        {"port": 3007, "origin": "BD_DOLT_PORT"},
        {"BD_DOLT_PORT": "3007"},
    ),
    "config.local.yaml before config.yaml": Case(
        {
            M: json.dumps(PORT),
            Y: "dolt.port: 3003",
            "project/.beads/config.local.yaml": "dolt.port: 3008",
        },
        {"port": 3008, "origin": ".beads/config.local.yaml:1"},
    ),
    "config.yaml before the user's": Case(
        {
            M: json.dumps(PORT),
            Y: "# bd\ndolt:\n  port: 3003\n",
            "home/.config/bd/config.yaml": "dolt:\n  port: 3009",
        },
        {"port": 3003, "origin": ".beads/config.yaml:3"},
    ),
    "dolt.port in one line before a block, in any file": Case(
        {
            M: json.dumps(PORT),
            Y: "# bd\ndolt:\n  port: 3003\n",
            "home/.config/bd/config.yaml": "dolt.port: 3009",
        },
        {"port": 3009, "origin": "~/.config/bd/config.yaml:1"},
    ),
    "the user's config.yaml before metadata.json": Case(
        {
            M: json.dumps(PORT),
            Y: "issue-prefix: x",
            "home/.config/bd/config.yaml": "dolt: {port: 3009}",
        },
        {"port": 3009, "origin": "~/.config/bd/config.yaml:1"},
    ),
    "~/.config/bd before ~/.beads": Case(
        {
            M: json.dumps(PORT),
            "home/.config/bd/config.yaml": "dolt.port: 3009",
            "home/.beads/config.yaml": "dolt.port: 3010",
        },
        {"port": 3009, "origin": "~/.config/bd/config.yaml:1"},
    ),
    "~/.beads/config.yaml before metadata.json": Case(
        {M: json.dumps(PORT), "home/.beads/config.yaml": "DOLT:\n  Port: '3010'"},
        {"port": 3010, "origin": "~/.beads/config.yaml:2"},
    ),
    "metadata.json last": Case(
        {M: json.dumps(PORT)}, {"port": 3001, "origin": ".beads/metadata.json"}
    ),
    # -- other parts of the address --------------------
    "the host: variable, metadata.json, config.yaml": Case(
        {M: _json(dolt_server_host="h2", dolt_server_port=3001), Y: "dolt.host: h3"},
        {"host": "h1", "origin": "BEADS_DOLT_SERVER_HOST"},
        {"BEADS_DOLT_SERVER_HOST": "h1"},
    ),
    "the host: metadata.json before config.yaml": Case(
        {M: _json(dolt_server_host="h2", dolt_server_port=3001), Y: "dolt.host: h3"},
        {"host": "h2", "origin": ".beads/metadata.json"},
    ),
    "the host: config.yaml": Case(
        {M: json.dumps(PORT), Y: "dolt.host: h3"},
        {"host": "h3", "origin": ".beads/config.yaml:1"},
        since=LATER,
    ),
    "all parts from .env": Case(
        {
            M: json.dumps(PORT),
            E: "# for this machine\nexport BEADS_DOLT_SERVER_HOST='h4'\n"
            'BEADS_DOLT_SERVER_USER: "u4"\nBEADS_DOLT_SERVER_DATABASE=d4 # the tracker\n'
            "BEADS_DOLT_PASSWORD=${BEADS_DOLT_SERVER_DATABASE}#pw\nNODE_ENV=\n",
        },
        {
            "host": "h4",
            "user": "u4",
            "database": "d4",
            "password": "d4#pw",
            "origin": ".beads/.env:2",
        },
    ),
    "a variable before .env, even an empty one": Case(
        {M: json.dumps(PORT), E: "BEADS_DOLT_SERVER_DATABASE=d4\nBEADS_DOLT_SERVER_USER=u4"},
        {"database": "tracker", "user": "u5", "origin": ".beads/metadata.json"},
        {"BEADS_DOLT_SERVER_DATABASE": "", "BEADS_DOLT_SERVER_USER": "u5"},
    ),
    # -- mode --------------------
    "dolt_mode in any letter case": Case(
        {M: _json(dolt_mode="SERVER", dolt_server_port=3001)},
        {"port": 3001, "origin": ".beads/metadata.json"},
    ),
    "BEADS_DOLT_SERVER_MODE before dolt_mode": Case(
        {M: _json(dolt_mode="embedded", dolt_server_port=3001)},
        {"port": 3001, "origin": ".beads/metadata.json"},
        {"BEADS_DOLT_SERVER_MODE": "1"},
    ),
    "BEADS_DOLT_SERVER_MODE in .env": Case(
        {M: _json(dolt_mode="Embedded", dolt_server_port=3001), E: "BEADS_DOLT_SERVER_MODE=1"},
        {"port": 3001, "origin": ".beads/metadata.json"},
    ),
    "dolt.mode where dolt_mode is not set": Case(
        {M: _json(dolt_mode=""), Y: "dolt.mode: Server\ndolt.port: 3003"},
        {"port": 3003, "origin": ".beads/config.yaml:2"},
        since=LATER,
    ),
    # -- shared server --------------------
    "a shared server by variable": Case(
        {M: json.dumps({**PORT, "dolt_mode": "embedded"}), P: "3002"},
        {"port": SHARED_PORT, "database": "tracker", "origin": "default"},
        {"BEADS_DOLT_SHARED_SERVER": "TRUE"},
    ),
    "a shared server by config.yaml, and its port file": Case(
        {
            M: json.dumps(PORT),
            P: "3002",
            Y: "dolt.shared-server: true",
            "home/.beads/shared-server/dolt-server.port": "3011",
        },
        {"port": 3011, "origin": "~/.beads/shared-server/dolt-server.port"},
    ),
    "a shared server: dolt.port": Case(
        {M: json.dumps(PORT), Y: "dolt:\n    shared-server: true\n    port: 3003"},
        {"port": 3003, "origin": ".beads/config.yaml:3"},
    ),
    "a shared server in another folder": Case(
        {M: json.dumps(PORT), "elsewhere/dolt-server.port": "3012"},
        {"port": 3012, "origin": "@/elsewhere/dolt-server.port"},
        {"BEADS_DOLT_SHARED_SERVER": "1", "BEADS_SHARED_SERVER_DIR": "@/elsewhere"},
    ),
    "not shared": Case(
        {M: json.dumps(PORT), Y: "dolt.shared-server: false"},
        {"port": 3001, "origin": ".beads/metadata.json"},
        {"BEADS_DOLT_SHARED_SERVER": "0"},
    ),
    # -- folder --------------------
    "a redirect, relative to the project": Case(
        {
            "project/.beads/redirect": "# to the team's\n\n../main/.beads\n",
            "main/.beads/metadata.json": json.dumps(PORT),
        },
        {"port": 3001, "database": "tracker", "origin": "@/main/.beads/metadata.json"},
    ),
    "a redirect keeps the database of its own metadata.json": Case(
        {
            "project/.beads/redirect": "@/main/.beads",
            M: _json(dolt_database="mine", dolt_server_port=9),
            "main/.beads/metadata.json": json.dumps(PORT),
        },
        {"database": "mine", "port": 3001, "origin": "@/project/.beads/metadata.json"},
        since=(99,),  # commands use 'mine', but `bd context` prints the target's (cmd/bd/main.go)
    ),
    "a redirect under BEADS_DIR": Case(
        {
            "other/.beads/redirect": "../main/.beads",
            "main/.beads/metadata.json": json.dumps(PORT),
            M: _json(),
        },
        {"port": 3001, "origin": "@/main/.beads/metadata.json"},
        {"BEADS_DIR": "@/other/.beads"},
    ),
    "only one redirect is followed, so a loop ends": Case(
        {
            "project/.beads/redirect": "../main/.beads",
            "main/.beads/redirect": "../project/.beads",
            "main/.beads/metadata.json": json.dumps(PORT),
        },
        {"port": 3001, "origin": "@/main/.beads/metadata.json"},
    ),
    "a redirect to itself is ignored": Case(
        {"project/.beads/redirect": ".beads", M: json.dumps(PORT)},
        {"port": 3001, "origin": ".beads/metadata.json"},
    ),
    "a redirect to nowhere: bd warns, and uses its own folder": Case(
        {"project/.beads/redirect": "../nowhere", M: json.dumps(PORT)},
        {"port": 3001, "origin": ".beads/metadata.json"},
    ),
    "BEADS_DIR before the folder here": Case(
        {M: _json(dolt_database="here"), "other/.beads/metadata.json": json.dumps(PORT)},
        {"database": "tracker", "origin": ".beads/metadata.json"},
        {"BEADS_DIR": "../other/.beads"},
    ),
    "BEADS_DIR in .env": Case(
        {
            M: _json(dolt_database="here"),
            E: "BEADS_DIR=@/other/.beads",
            "other/.beads/metadata.json": json.dumps(PORT),
        },
        {"database": "tracker", "origin": "@/other/.beads/metadata.json"},
        since=LATER,
    ),
    "a folder above": Case(
        {M: json.dumps(PORT), "project/a/.beads/registry.json": "{}"},
        {"port": 3001, "origin": ".beads/metadata.json"},
        here="project/a/b",
    ),
    # -- git worktrees: 'tree' is a worktree of 'main' --------------------
    "the main work tree": Case(
        {
            "main/.beads/metadata.json": json.dumps(PORT),
            "main/.beads/dolt-server.port": "3002",
            "main/.beads/dolt/x": "",
        },
        {"port": 3002, "origin": "@/main/.beads/dolt-server.port"},
        here="tree/below",
    ),
    "the main work tree before a tracked copy without a database": Case(
        {
            "main/.beads/metadata.json": json.dumps(PORT),
            "main/.beads/dolt/x": "",
            "tree/.beads/metadata.json": _json(dolt_database="copy"),
        },
        {"database": "tracker", "origin": "@/main/.beads/metadata.json"},
        here="tree",
        since=LATER,
    ),
    "the worktree's own database before the main work tree": Case(
        {
            "main/.beads/metadata.json": json.dumps(PORT),
            "main/.beads/dolt/x": "",
            "tree/.beads/metadata.json": _json(dolt_database="own", dolt_server_port=3001),
            "tree/.beads/dolt/x": "",
        },
        {"database": "own", "origin": ".beads/metadata.json"},
        here="tree",
    ),
    "the worktree's own where the main one has no database either": Case(
        {
            "main/.beads/metadata.json": json.dumps(PORT),
            "tree/.beads/metadata.json": _json(dolt_database="own", dolt_server_port=3001),
        },
        {"database": "own", "origin": ".beads/metadata.json"},
        here="tree",
    ),
    "the worktree's redirect before the main work tree": Case(
        {
            "main/.beads/metadata.json": _json(),
            "main/.beads/dolt/x": "",
            "tree/.beads/redirect": "../other/.beads",
            "other/.beads/metadata.json": json.dumps(PORT),
        },
        {"port": 3001, "origin": "@/other/.beads/metadata.json"},
        here="tree",
    ),
    "a folder below the worktree's root before all of these": Case(
        {
            "main/.beads/metadata.json": _json(),
            "main/.beads/dolt/x": "",
            "tree/rig/.beads/metadata.json": json.dumps(PORT),
        },
        {"port": 3001, "origin": ".beads/metadata.json"},
        here="tree/rig/a",
    ),
}


def made(case: Case, folder: Path) -> dict[str, str]:
    """Create the files of a case and return its environment."""
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("@", str(folder)), "utf-8")
    for name in ("project", "other", "main"):  # bd requires a repository around its folder
        if not case.here.startswith("tree") and (folder / name).exists():
            subprocess.run(["git", "init", "-q", str(folder / name)], check=True)
    if case.here.startswith("tree"):
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
        (folder / "main").mkdir(exist_ok=True)
        for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "1"]):
            subprocess.run([*git, *words], cwd=folder / "main", check=True)
        tree = folder / "tree"
        kept = folder / "kept"
        if tree.exists():
            tree.rename(kept)
        subprocess.run(
            [*git, "worktree", "add", "-q", "-b", "b", str(tree)], cwd=folder / "main", check=True
        )
        if kept.exists():
            shutil.copytree(kept, tree, dirs_exist_ok=True)
    (folder / case.here).mkdir(parents=True, exist_ok=True)
    (folder / "home").mkdir(exist_ok=True)
    env = {name: value.replace("@", str(folder)) for name, value in case.env.items()}
    return {"HOME": str(folder / "home"), **env}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_place(case: Case, tmp_path: Path) -> None:
    env = made(case, tmp_path)
    settings = load({}, env, tmp_path / case.here)
    assert isinstance(settings.address, ServerAddress)
    expected = dict(case.expected)
    origin = expected.pop("origin").replace("@", str(tmp_path))
    assert {name: getattr(settings.address, name) for name in expected} == expected
    assert settings.origins[f"database.{next(iter(expected))}"] == origin


def _bd() -> tuple[str, tuple[int, ...]] | None:
    """Return the path and the release of the real bd, or None without a real bd."""
    program = os.environ.get("BD") or shutil.which("bd")
    if not program:
        return None
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout)
    return (program, tuple(map(int, found.groups()))) if found else None


REAL = _bd()


def test_bd_finds_the_same(tmp_path: Path) -> None:
    if REAL is None:
        give_up(Choice(Source.SKIP, "needs a real bd on PATH to compare with"))
    program, release = REAL
    ours, theirs = {}, {}
    for number, (name, case) in enumerate(CASES.items()):
        if release < case.since:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        env = made(case, folder)
        address = load({}, env, folder / case.here).address  # before bd, which may repair files
        assert isinstance(address, ServerAddress)
        ours[name] = (address.host, address.port, address.database)
        ran = subprocess.run(
            [program, "context", "--json"],
            cwd=folder / case.here,
            env={"PATH": os.environ["PATH"], "BD_DISABLE_METRICS": "1", **env},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        said = json.loads(ran.stdout)
        theirs[name] = (said["server_host"], said["server_port"], said["database"])
    assert ours == theirs
    assert len(ours) > 30


BAD: dict[str, tuple[dict[str, str], dict[str, str], str, str]] = {
    # name → files, variables, words of the message, place of the error ('@' is the folder)
    "a port file that is no number": (
        {M: _json(), P: "many"},
        {},
        "a port from 1 to 65535",
        "@/" + P,
    ),
    "an empty port file": ({M: _json(), P: ""}, {}, "a port from 1 to 65535", "@/" + P),
    "dolt.port is no number": ({M: _json(), Y: "dolt.port: many"}, {}, "a port", "@/" + Y + ":1"),
    "dolt.port is too large": (
        {M: _json(), Y: "\ndolt:\n  port: 70000"},
        {},
        "a port",
        "@/" + Y + ":3",
    ),
    "BEADS_DOLT_PORT is no number": (
        {M: _json()},
        {"BEADS_DOLT_PORT": "x"},
        "a port",
        "BEADS_DOLT_PORT",
    ),
    "a port in .env is no number": (
        {M: _json(), E: "\nBEADS_DOLT_PORT=x"},
        {},
        "a port",
        "@/" + E + ":2",
    ),
    "shared-server is neither": (
        {M: _json(), Y: "dolt.shared-server: perhaps"},
        {},
        "true or false",
        "@/" + Y + ":1",
    ),
    "YAML: an open bracket": ({M: _json(), Y: "dolt: {port: 1"}, {}, "as YAML", "@/" + Y + ":1"),
    "YAML: a list": ({M: _json(), Y: "dolt:\n- port"}, {}, "as YAML", "@/" + Y + ":2"),
    "YAML: a tab": ({M: _json(), Y: "dolt:\n\tport: 1"}, {}, "as YAML", "@/" + Y + ":2"),
    "YAML: uneven": ({M: _json(), Y: "dolt:\n  port: 1\n host: h"}, {}, "as YAML", "@/" + Y + ":3"),
    "YAML: no key": ({M: _json(), Y: "a: 1\ndolt 3307"}, {}, "as YAML", "@/" + Y + ":2"),
    "YAML: no key below": ({M: _json(), Y: "dolt:\n  port 3307"}, {}, "as YAML", "@/" + Y + ":2"),
    "YAML: an open quote": ({M: _json(), Y: "dolt.host: 'h"}, {}, "as YAML", "@/" + Y + ":1"),
    "YAML: twice": ({M: _json(), Y: "dolt.port: 1\nDolt.Port: 2"}, {}, "twice", "@/" + Y + ":2"),
    ".env: no assignment": (
        {M: _json(), E: "A=1\nsecret pa55"},
        {},
        "not KEY=value",
        "@/" + E + ":2",
    ),
    ".env: an open quote": (
        {M: _json(), E: "BEADS_DOLT_PASSWORD='pa55"},
        {},
        "not KEY=value",
        "@/" + E + ":1",
    ),
    "BEADS_DIR in .env names nothing": (
        {M: _json(), E: "BEADS_DIR=nowhere"},
        {},
        "not a folder",
        "@/" + E + ":1",
    ),
    "a redirect to nowhere": (
        {"project/.beads/redirect": "../nowhere"},
        {},
        "doesn't name a folder",
        "@/project/.beads/redirect",
    ),
    "a redirect to a file": (
        {"project/.beads/redirect": "../x", "x": ""},
        {},
        "doesn't name a folder",
        "@/project/.beads/redirect",
    ),
    "a redirect with a NUL": (
        {"project/.beads/redirect": "a\0b"},
        {},
        "doesn't name a folder",
        "@/project/.beads/redirect",
    ),
    "a redirect to a folder without a tracker": (
        {"project/.beads/redirect": "../main/.beads", "main/.beads/x": ""},
        {},
        "has no metadata.json",
        "@/project",
    ),
    "proxied": (
        {M: _json(dolt_mode="proxied-server")},
        {},
        "dolt_mode is 'proxied-server'",
        "@/" + M,
    ),
}


@pytest.mark.parametrize(("files", "env", "message", "where"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_used(
    files: dict[str, str], env: dict[str, str], message: str, where: str, tmp_path: Path
) -> None:
    case = Case(files, {}, env)
    with pytest.raises(SettingsError) as caught:
        load({}, made(case, tmp_path), tmp_path / "project")
    assert message in caught.value.message
    assert caught.value.where == where.replace("@", str(tmp_path))
    assert caught.value.fix
    assert "pa55" not in str(caught.value)


@pytest.mark.parametrize("name", ["redirect", ".env", "config.yaml", "dolt-server.port"])
def test_a_folder_where_a_file_belongs(name: str, tmp_path: Path) -> None:
    env = made(Case({M: _json()}, {}), tmp_path)
    (tmp_path / "project/.beads" / name).mkdir()
    with pytest.raises(SettingsError) as caught:
        load({}, env, tmp_path / "project")
    assert caught.value.where == str(tmp_path / "project/.beads" / name)


@pytest.mark.parametrize("name", ["redirect", ".env", "config.yaml"])
def test_a_file_that_is_not_utf8(name: str, tmp_path: Path) -> None:
    env = made(Case({M: _json()}, {}), tmp_path)
    (tmp_path / "project/.beads" / name).write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load({}, env, tmp_path / "project")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dolt.port: 1", {"port": "1"}),
        ("'dolt.host': \"h\" # here", {"host": "h"}),
        ("dolt:\n  # none\n  host: a#b\n\n  port: 1 # one", {"host": "a#b", "port": "1"}),
        ("dolt: {port: 1, host: 'h'}  # flow", {"port": "1", "host": "h"}),
        ("dolt: {}", {}),
        ("dolt: # block\n    port: 1\nother: |\n  dolt:\n    port: 9", {"port": "1"}),
        ("dolt:\n  remotes:\n    - port: 9\n    - x\n  port: 1", {"port": "1"}),
        ("dolt:\n  host:\n  port: ~\ndolt.mode: null", {}),
        ("issues:\n- dolt: 1\n- 2\n]", {}),
        ("a: 'x\n  dolt: 3'\n", {}),
        ("---\ndolt.port: 1\n---\ndolt.port: 2", {"port": "1"}),
        ("%YAML 1.2\n---\ndolt.port: 1\n...\nrubbish", {"port": "1"}),
        ("dolt:\n  port: 2\ndolt.port: 1", {"port": "1"}),
        ("dolt.port: 1\ndolt:\n  port: 2", {"port": "1"}),
        ("rubbish # dolt", {}),
        ("doltish:\n  port: 9", {}),
    ],
)
def test_yaml(text: str, expected: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, "utf-8")
    assert {name: entry.value for name, entry in beads_yaml.read(path).items()} == expected
    if "rubbish" not in text and "]" not in text:
        tree = next(iter(yaml.safe_load_all(text)))  # a full YAML parser must agree
        block, flat = (
            tree.get("dolt") or {},
            {k[5:]: v for k, v in tree.items() if k.startswith("dolt.")},
        )
        plain = {
            name: value for name, value in {**block, **flat}.items() if isinstance(value, str | int)
        }
        assert {name: str(value) for name, value in plain.items()} == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("A=b", "b"),
        ("export A = b c ", "b c"),
        ("A: b", "b"),
        ("A=", ""),
        ("A=b#c # d", "b#c"),
        ("A='b $X \\n'", "b $X \\n"),
        ('A="b\\n\\"c\\" #"', 'b\n"c" #'),
        ("X=1\nA=${X}$X-\\$X", "11-$X"),
        ("A=$NONE.", "."),
        ("A=http://h:1/x?y=z", "http://h:1/x?y=z"),
    ],
)
def test_env_file(line: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"# first\n\n{line}\n", "utf-8")
    assert dotenv.read(path)["A"].value == expected


def test_settings_beside_the_folder_that_bd_uses(tmp_path: Path) -> None:
    case = CASES["a redirect, relative to the project"]
    env = made(case, tmp_path)
    (tmp_path / "main/dolt_watch.toml").write_text('settle = "9s"\n', "utf-8")
    assert load({}, env, tmp_path / "project").settle.total_seconds() == 9
    (tmp_path / "project/dolt_watch.toml").write_text('settle = "8s"\n', "utf-8")
    assert load({}, env, tmp_path / "project").settle.total_seconds() == 8, "the nearer one wins"
