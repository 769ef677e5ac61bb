"""Database URLs: accepted ones, refused ones, and no visible password."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dolt_watch.engines.address import FileAddress, ServerAddress, parse_url
from dolt_watch.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (
            "dolt://bd@db.example:3307/beads",
            ServerAddress("db.example", 3307, "bd", database="beads"),
        ),
        ("dolt://localhost/beads", ServerAddress("localhost", 3306, "root", database="beads")),
        ("dolt://a%40b@[::1]:1/b%2Dx", ServerAddress("::1", 1, "a@b", database="b-x")),
        ("dolt://h/beads/feature/x", ServerAddress("h", database="beads/feature/x")),
        ("dolt://h/beads/a%40b", ServerAddress("h", database="beads/a@b")),
        ("dolt://h/beads/feature%2Fx", ServerAddress("h", database="beads/feature/x")),
        ("dolt:///beads?socket=/run/d.sock", ServerAddress(database="beads", socket="/run/d.sock")),
        ("dolt://h/b?tls=true", ServerAddress("h", database="b", tls=True)),
        ("dolt://h/b?tls=false", ServerAddress("h", database="b", tls=False)),
        (
            "dolt://h/b?tls=/etc/ca.pem",
            ServerAddress("h", database="b", tls=True, ca="/etc/ca.pem"),
        ),
        ("doltlite:///var/lib/my%20demo.db", FileAddress("/var/lib/my demo.db")),
    ],
)
def test_accepted(url, address):
    assert parse_url(url) == address
    assert parse_url(address.url) == address, "its own form reads back"


@pytest.mark.parametrize(
    ("url", "encrypted"),
    [
        ("dolt://db.example/b", True),
        ("dolt://10.0.0.7/b", True),
        ("dolt://127.0.0.1.example/b", True),
        ("dolt://127.evil/b", True),
        ("dolt://0.0.0.0/b", True),
        ("dolt://db.example/b?tls=false", False),
        ("dolt://localhost/b", False),
        ("dolt://LocalHost/b", False),
        ("dolt://127.0.0.1/b", False),
        ("dolt://127.1.2.3/b", False),
        ("dolt://[::1]/b", False),
        ("dolt://127.0.0.1/b?tls=true", True),
        ("dolt://127.0.0.1/b?tls=/etc/ca.pem", True),
        ("dolt://db.example/b?socket=/run/d.sock", False),
    ],
)
def test_encrypted_off_loopback_unless_somebody_says_otherwise(url, encrypted):
    address = parse_url(url)
    assert address.uses_tls is encrypted
    assert parse_url(address.url).uses_tls is encrypted, "its own form says the same"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://root@h/b", "begins with dolt:// or doltlite://, not with mysql"),
        ("h:3306/b", "begins with dolt://"),
        ("", "not with nothing"),
        ("dolt://root@h:3306", "names no database"),
        ("dolt://root@h:3306/", "names no database"),
        ("dolt://root@h:port/b", "not a database URL"),
        ("dolt://root@h:99999/b", "not a database URL"),
        ("dolt://h/b?sslmode=x", "options socket and tls, not sslmode"),
        ("dolt://h/b?tls=maybe", "tls must be true, false or"),
        ("dolt://h/b?nonsense", "cannot be read"),
        ("doltlite://relative/x.db", "three slashes"),
        ("doltlite:///", "three slashes"),
    ],
)
def test_refused_with_what_was_expected(url, says):
    with pytest.raises(SettingsError, match=says) as error:
        parse_url(url)
    assert error.value.fix


@pytest.mark.parametrize(
    "url",
    [
        "dolt://root:hunter2@h/b",
        "dolt://h/b?password=hunter2",
        "dolt://root:hunter2@h:x/b",
        "dolt://root:12/hunter2@h/b",
        "dolt:root:hunter2@h/b",
    ],
)
def test_a_password_in_the_url_is_an_error_that_does_not_repeat_it(url):
    with pytest.raises(SettingsError) as error:
        parse_url(url)
    assert "hunter2" not in str(error.value)
    assert "hunter2" not in repr(error.value.__cause__)


def test_a_password_is_never_shown():
    address = ServerAddress("h", 1, "u", "hunter2", "b")
    assert "hunter2" not in f"{address!r} {address} {address.url} {address.display_name}"
    assert address.display_name == "h:1/b"


@pytest.mark.parametrize(
    ("module", "unwanted"), [("dolt", "sqlglot doltlite sqlite3"), ("doltlite", "pymysql")]
)
def test_an_engine_imports_only_its_own_driver(module, unwanted):
    """An import of sqlglot costs 73 ms, of pymysql 23 ms. doltlite replaces the module sqlite3."""
    program = (
        f"import sys, dolt_watch.engines.address, dolt_watch.engines.{module}\n"
        f"sys.exit(','.join(sorted(set({unwanted.split()!r}) & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")
