"""Getting a ``sqlite3`` that is DoltLite, or a clear word on why not.

The library ``doltlite`` works by being loaded before ``sqlite3``. When it comes second it
re-executes the interpreter, which would start a command over in its middle (under pytest it then
prints nothing and exits 0); and it marks the environment with a variable that child processes
inherit, in which it then does nothing at all, silently. Here neither can happen.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from dolt_watch.errors import DatabaseError

MARKER = "_DOLTLITE_BOOTSTRAPPED"
INSTALL = "pip install 'dolt-watch[doltlite]'"


def load_sqlite3() -> ModuleType:
    """The module ``sqlite3``, speaking to DoltLite. Raises DatabaseError."""
    if "sqlite3" not in sys.modules and "_sqlite3" not in sys.modules:
        os.environ.pop(MARKER, None)  # a parent's mark: it says nothing of this process
        try:
            import doltlite  # noqa: F401
        except ImportError as error:
            raise DatabaseError("the library doltlite is not installed", fix=INSTALL) from error
        except Exception as error:
            raise DatabaseError(
                f"the library doltlite cannot be loaded: {error}", fix=INSTALL
            ) from error
        finally:
            os.environ.pop(MARKER, None)  # not for our children
    # Late: doltlite must be loaded before sqlite3.
    import sqlite3

    if not version(sqlite3):
        raise DatabaseError(
            "this Python's sqlite3 is the stock SQLite, not DoltLite: it was loaded first, or it is"
            " linked statically (as in the Pythons that uv downloads)",
            fix=(
                "run a Debian, Homebrew or pyenv Python, and `import doltlite` before anything that"
                " imports sqlite3"
            ),
        )
    return sqlite3


def version(sqlite3: ModuleType) -> str:
    """DoltLite's version, '' for the stock SQLite."""
    try:
        connection = sqlite3.connect(":memory:")
        try:
            return str(connection.execute("SELECT dolt_version()").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return ""
