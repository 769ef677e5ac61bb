"""Checks of a target's settings, before any request."""

from __future__ import annotations

from urllib.parse import urlsplit

from dolt_watch.errors import SettingsError
from dolt_watch.targets.settings import TargetSettings

LONGEST_TIMEOUT = 3600.0


def check_url(
    settings: TargetSettings, key: str, url: str, *, fix: str, whole: bool = False
) -> None:
    """Check a URL. Errors never show the URL, because it may contain a password.

    Args:
        settings: The target's settings.
        key: The key of the URL.
        url: Its value.
        fix: The fix for the error.
        whole: The URL is used unchanged, so it may have a query.

    Raises:
        SettingsError: It isn't an http:// or https:// URL with a host.
    """
    wrong = ""
    if not url:
        raise SettingsError(
            f"Target {settings.name} has no URL.", where=settings.origin(key), fix=fix
        )
    if any(each.isspace() or not each.isprintable() for each in url):
        # urlsplit silently drops a newline, and httpx would ask another place, or fail later.
        wrong = "contains a space or a line break"
    else:
        try:
            parts = urlsplit(url)
            usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            # The text of the exception quotes the port. If the password contains '/', the port is
            # the password.
            wrong = "isn't a URL"
        else:
            if parts.scheme not in ("http", "https") or not usable:
                wrong = "isn't an http:// or https:// URL with a host"
            elif parts.fragment or (parts.query and not whole):
                without = "'#'" if whole else "'?' and '#'"
                wrong = f"must end with its path, without {without}"
    if wrong:
        raise SettingsError(
            f"Target {settings.name}: {key} {wrong}.", where=settings.origin(key), fix=fix
        )


def check_bearer(settings: TargetSettings, url: str, token: str) -> None:
    """Check a bearer token. Errors never show the token.

    Raises:
        SettingsError: A header can't contain the token, or the URL's own credentials would replace
            it.
    """
    where = settings.origin("token")
    if not token.isascii() or not token.isprintable() or " " in token:
        fix = "Use visible ASCII characters only, without spaces."
        raise SettingsError(
            f"Target {settings.name}: the token contains a character that isn't"
            " allowed in an HTTP header.",
            where=where,
            fix=fix,
        )
    if "@" in urlsplit(url).netloc:
        fix = "Remove user and password from the URL, or remove the token."
        raise SettingsError(
            f"Target {settings.name} has a token, and a URL with a user.", where=where, fix=fix
        )


def checked_timeout(settings: TargetSettings) -> float:
    """Return the target's time-out in seconds. Raises SettingsError."""
    found = settings.timeout.total_seconds()
    if not 0 < found <= LONGEST_TIMEOUT:
        raise SettingsError(
            f"Target {settings.name}: timeout must be more than 0 and at most an hour,"
            f" but is {found:g} s.",
            where=settings.origin("timeout"),
            fix=f'Set [targets.{settings.name}] timeout = "30s".',
        )
    return found
