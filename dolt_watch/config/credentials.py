"""Find the database's password: in the environment or a file, never on a command line.

No message contains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dolt_watch.config.converters import exists, expand, read_text
from dolt_watch.engines.address import ServerAddress
from dolt_watch.errors import SettingsError


def find_password(address: ServerAddress, env: Mapping[str, str], cwd: Path) -> tuple[str, str]:
    """Return the password, or '', and its source.

    Variables of dolt_watch win over those of bd, and the environment wins over files. The address
    selects a section of the credentials file. Relative paths start at ``cwd``.

    Raises:
        SettingsError: The file that a variable names, or the credentials file, can't be used.
    """
    if value := env.get("DOLT_WATCH_PASSWORD"):
        return value, "DOLT_WATCH_PASSWORD"
    if name := env.get("DOLT_WATCH_PASSWORD_FILE"):
        fix = "Set DOLT_WATCH_PASSWORD_FILE to the path of a file that contains only the password."
        path = cwd / expand(name, "DOLT_WATCH_PASSWORD_FILE")
        return read_secret_file(path, "the password file", fix), "DOLT_WATCH_PASSWORD_FILE"
    if value := env.get("BEADS_DOLT_PASSWORD"):
        return value, "BEADS_DOLT_PASSWORD"
    # bd's default file is optional. A file that a variable names must exist.
    if name := env.get("BEADS_CREDENTIALS_FILE"):
        origin = "BEADS_CREDENTIALS_FILE"
        path = cwd / expand(name, origin)
    elif home := env.get("HOME"):
        path, origin = Path(home, ".config/beads/credentials"), "~/.config/beads/credentials"
        if not exists(path):
            return "", "default"
    else:
        return "", "default"
    value = _credentials(path, address)
    return value, origin if value else "default"


def read_secret_file(path: Path, what: str, fix: str, *, blanks: bool = True) -> str:
    """Return the secret in a file.

    A password may begin or end with ``blanks``, but a token in a header can't. ``what`` is the name
    of the file in an error.

    Raises:
        SettingsError: The file can't be read, or is empty.
    """
    # Editors and `echo` end a file with a newline, which isn't part of the secret.
    value = read_text(path, what, unreadable=fix, not_utf8=fix).rstrip("\r\n")
    value = value if blanks else value.strip()
    if not value:
        raise SettingsError(f"{what[:1].upper()}{what[1:]} is empty.", where=str(path), fix=fix)
    return value


def _credentials(path: Path, address: ServerAddress) -> str:
    import configparser  # Late: few users have a credentials file.

    host = f"[{address.host}]" if ":" in address.host else address.host
    fix = f"Write INI: a line `[{host}:{address.port}]`, and below it `password = …`."
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    text = read_text(path, "the credentials file", unreadable=fix, not_utf8=fix)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        # The parser's own message contains the line, which may be the password.
        lines = [line for line, _ in getattr(error, "errors", [])]
        where = f"{path}:{getattr(error, 'lineno', None) or [*lines, 1][0]}"
        raise SettingsError("The credentials file is not INI.", where=where, fix=fix) from None
    for section in (f"{address.host}:{address.port}", f"{host}:{address.port}"):
        if parser.has_section(section):
            return parser.get(section, "password", fallback="")
    return ""
