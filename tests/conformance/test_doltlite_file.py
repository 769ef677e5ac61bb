"""Opening of a DoltLite file.

A file is created only on request, and a wrong file is refused with a clear error. The stock SQLite
never opens it unnoticed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dolt_watch.engines.address import FileAddress
from dolt_watch.engines.connect import open_engine
from dolt_watch.engines.doltlite.loader import MARKER
from dolt_watch.errors import AccessDenied, DatabaseError, NoSuchDatabase
from tests.conformance.tables import make, read

OPEN = (
    "from dolt_watch.engines.address import *; from dolt_watch.engines.connect import open_engine;"
    " e = open_engine(FileAddress({path!r})); print(e.query(\"SELECT v FROM t WHERE id = 'a'\"));"
    " e.close()"
)


def test_a_missing_file_is_not_made(doltlite_path, tmp_path):
    with pytest.raises(NoSuchDatabase) as error:
        open_engine(doltlite_path)
    assert error.value.fix
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(doltlite_path, tmp_path):
    with pytest.raises(NoSuchDatabase):
        open_engine(FileAddress(str(tmp_path / "no" / "x.db")), create=True)


def test_it_is_there_the_next_time(doltlite, doltlite_path):
    make(doltlite)
    again = open_engine(doltlite_path)
    try:
        assert read(again, "a") == "1"
    finally:
        again.close()


@pytest.mark.parametrize("content", [b"hello" * 1000, b"SQLite format 3\x00" + bytes(84)])
def test_a_file_that_is_something_else(doltlite_path, tmp_path, content):
    path = tmp_path / "junk.db"
    path.write_bytes(content)
    with pytest.raises(DatabaseError) as error:
        open_engine(FileAddress(str(path)))
    assert error.value.exit_code == 3


def test_a_stock_sqlite_file_is_told(doltlite_path, tmp_path):
    path = tmp_path / "plain.db"
    make_plain = (
        f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('CREATE TABLE a (x)');"
        " c.commit(); c.close()"
    )
    subprocess.run([sys.executable, "-c", make_plain], check=True)
    with pytest.raises(DatabaseError, match="stock SQLite") as error:
        open_engine(FileAddress(str(path)))
    assert error.value.fix


def test_no_mark_is_left_for_child_processes(doltlite):
    assert MARKER not in os.environ


@pytest.mark.parametrize("env", [{}, {MARKER: "1"}], ids=["clean", "marked by a parent"])
def test_a_child_process_gets_doltlite(doltlite, doltlite_path, env):
    make(doltlite)
    done = subprocess.run(
        [sys.executable, "-c", OPEN.format(path=doltlite_path.path)],
        env=os.environ | env,
        capture_output=True,
        text=True,
    )
    assert (done.stdout.strip(), done.stderr) == ("[('1',)]", "")


def test_sqlite3_loaded_first_is_a_clear_error_not_a_second_run(doltlite, doltlite_path):
    make(doltlite)
    program = "print('begin'); import sqlite3; " + OPEN.format(path=doltlite_path.path)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == "begin\n"
    assert "stock SQLite" in done.stderr


@pytest.mark.parametrize("broken", ["full disk", "folder", "of another user"])
def test_a_lock_file_that_cannot_be_used(doltlite, doltlite_path, broken):
    """`run` waits until the lock can be used again, as for every error of the database."""
    lead = Path(f"{doltlite_path.path}.lead")
    user = os.geteuid()
    if broken == "full disk":
        lead.symlink_to("/dev/full")
    elif broken == "folder":
        lead.mkdir()
    else:
        lead.write_text("host")
        lead.chmod(0)
        os.seteuid(user or 65534)  # root can read everything
    try:
        kind = AccessDenied if broken == "of another user" else DatabaseError
        with pytest.raises(kind, match="Can't use the lock of the service") as caught:
            doltlite.try_acquire_leadership()
        assert (caught.value.where, bool(caught.value.fix)) == (str(lead), True)
        if broken != "full disk":
            with pytest.raises(kind):
                doltlite.leader()
    finally:
        os.seteuid(user)
    lead.rmdir() if broken == "folder" else lead.unlink()
    assert doltlite.try_acquire_leadership()
