"""The database's password: from the environment or a file, never from a command line, never in a
message.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dolt_watch.config.converters import exists, read_text
from dolt_watch.engines.address import ServerAddress
from dolt_watch.errors import SettingsError


def find_password(address: ServerAddress, env: Mapping[str, str], cwd: Path) -> tuple[str, str]:
    """The password ('' for none) and where it came from: ours before beads', the environment
    before files.

    Raises:
        SettingsError: a file that was named, or the credentials file, cannot be used.
    """
    if value := env.get("DOLT_WATCH_PASSWORD"):
        return value, "DOLT_WATCH_PASSWORD"
    if name := env.get("DOLT_WATCH_PASSWORD_FILE"):
        fix = (
            "DOLT_WATCH_PASSWORD_FILE is the path of a file that holds the password and nothing"
            " else"
        )
        return (
            read_secret_file(cwd / Path(name).expanduser(), "the password file", fix),
            "DOLT_WATCH_PASSWORD_FILE",
        )
    if value := env.get("BEADS_DOLT_PASSWORD"):
        return value, "BEADS_DOLT_PASSWORD"
    named = env.get("BEADS_CREDENTIALS_FILE")
    home = env.get("HOME")
    if not named and not home:
        return "", "default"
    path = (
        cwd / Path(named).expanduser()
        if named
        else Path(home or "") / ".config" / "beads" / "credentials"
    )
    if not named and not exists(path):
        return "", "default"
    value = _credentials(path, address)
    return value, (
        ("BEADS_CREDENTIALS_FILE" if named else "~/.config/beads/credentials")
        if value
        else "default"
    )


def read_secret_file(path: Path, what: str, fix: str, *, blanks: bool = True) -> str:
    """A secret that has a file to itself. Raises SettingsError: unreadable, or empty.

    ``blanks``: keep those around it. A password may have them; a token in a header can't.
    """
    # Editors and `echo` end a file with a newline that nobody means; blanks may well be meant.
    value = read_text(path, what, unreadable=fix, not_utf8=fix).rstrip("\r\n")
    value = value if blanks else value.strip()
    if not value:
        raise SettingsError(f"{what} is empty", where=str(path), fix=fix)
    return value


def _credentials(path: Path, address: ServerAddress) -> str:
    import configparser

    host = f"[{address.host}]" if ":" in address.host else address.host
    fix = f"it is INI: a line [{host}:{address.port}], below it password = …"
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    text = read_text(path, "the credentials file", unreadable=fix, not_utf8=fix)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        # The parser's own message quotes the line, which may be the password.
        line = getattr(error, "lineno", None) or next(
            (line for line, _ in getattr(error, "errors", [])), 1
        )
        raise SettingsError(
            "the credentials file is not INI", where=f"{path}:{line}", fix=fix
        ) from None
    for section in (f"{address.host}:{address.port}", f"{host}:{address.port}"):
        if parser.has_section(section):
            return parser.get(section, "password", fallback="")
    return ""
