"""What a target checks of its settings before it asks anybody anything."""

from __future__ import annotations

from urllib.parse import urlsplit

from dolt_watch.errors import SettingsError
from dolt_watch.targets.settings import TargetSettings

LONGEST_TIMEOUT = 3600.0


def check_url(
    settings: TargetSettings, key: str, url: str, *, fix: str, whole: bool = False
) -> None:
    """``whole``: the URL is asked as it is, so that it may have a query.

    Never shows the URL: it may hold a password.

    Raises:
        SettingsError: not an http:// or https:// URL with a host.
    """
    name, where = settings.name, settings.origin(key)
    if not url:
        raise SettingsError(
            f"target {name} has no URL: nobody to dispatch to", where=where, fix=fix
        )
    if any(each.isspace() or not each.isprintable() for each in url):
        # urlsplit drops a newline in silence, and httpx asks for another place, or fails later.
        raise SettingsError(
            f"target {name}: {key} has a blank or a line break in it", where=where, fix=fix
        )
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except (
        ValueError
    ):  # its text quotes what should be a port: the password, where that holds a '/'
        raise SettingsError(f"target {name}: {key} is no URL", where=where, fix=fix) from None
    if parts.scheme not in ("http", "https") or not usable:
        raise SettingsError(
            f"target {name}: {key} is not an http:// or https:// URL with a host",
            where=where,
            fix=fix,
        )
    if parts.fragment or (parts.query and not whole):
        asked = "no '#'" if whole else "no '?' and no '#'"
        raise SettingsError(
            f"target {name}: {key} must end with its path ({asked})", where=where, fix=fix
        )


def check_bearer(settings: TargetSettings, url: str, token: str) -> None:
    """Never shows the token.

    Raises SettingsError: it cannot stand in a header, or the URL's own credentials would take
    its place there.
    """
    where = settings.origin("token")
    if not token.isascii() or not token.isprintable() or " " in token:
        fix = "visible ASCII characters, no blank, nothing before or after it"
        raise SettingsError(
            f"target {settings.name}: the token holds what cannot stand in an HTTP header",
            where=where,
            fix=fix,
        )
    if "@" in urlsplit(url).netloc:
        fix = "take user and password out of the URL, or leave the token out"
        raise SettingsError(
            f"target {settings.name} has a token and a URL with a user", where=where, fix=fix
        )


def checked_timeout(settings: TargetSettings) -> float:
    """Its time-out. Raises SettingsError."""
    found = settings.timeout.total_seconds()
    if not 0 < found <= LONGEST_TIMEOUT:
        raise SettingsError(
            f"target {settings.name}: timeout must be more than 0 and at most an hour, not"
            f" {found:g} s",
            where=settings.origin("timeout"),
            fix=f'[targets.{settings.name}] timeout = "30s"',
        )
    return found
