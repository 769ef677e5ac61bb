"""Load a ``sqlite3`` module that is DoltLite, or report why that is not possible.

The library ``doltlite`` must be loaded before ``sqlite3``. Otherwise it re-executes the
interpreter, which would restart a running command. Under pytest, the process then prints nothing
and exits 0. The library also sets an environment variable that child processes inherit, in which it
then does nothing and reports nothing. This module prevents both.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

from dolt_watch.errors import DatabaseError

MARKER = "_DOLTLITE_BOOTSTRAPPED"
INSTALL = "pip install 'dolt-watch[doltlite]'"


def load_sqlite3() -> ModuleType:
    """Return the module ``sqlite3``, with DoltLite as its library. Raises DatabaseError."""
    if "sqlite3" not in sys.modules and "_sqlite3" not in sys.modules:
        os.environ.pop(MARKER, None)  # set by a parent process, and not valid here
        try:
            import doltlite  # noqa: F401
        except ImportError as error:
            raise DatabaseError(
                "The library doltlite is not installed.", fix=f"`{INSTALL}`"
            ) from error
        except Exception as error:
            raise DatabaseError(
                f"Could not load the library doltlite: {error}.", fix=f"`{INSTALL}`"
            ) from error
        finally:
            os.environ.pop(MARKER, None)  # child processes must not inherit it
    # Late: doltlite must be loaded before sqlite3.
    import sqlite3

    if not version(sqlite3):
        raise DatabaseError(
            "This Python's sqlite3 is the stock SQLite, not DoltLite. The stock SQLite was loaded"
            " first, or is linked statically (as in the Pythons that uv downloads).",
            fix=(
                "Use a Debian, Homebrew or pyenv Python, and `import doltlite` before any module"
                " that imports sqlite3."
            ),
        )
    return sqlite3


def version(sqlite3: ModuleType) -> str:
    """Return DoltLite's version, or '' for the stock SQLite."""
    try:
        connection = sqlite3.connect(":memory:")
        try:
            return str(connection.execute("SELECT dolt_version()").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error:
        return ""
