"""From settings to a target."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol
from urllib.parse import urlsplit

from dolt_watch.errors import SettingsError
from dolt_watch.targets import Target


class TargetLike(Protocol):
    """What a ``[targets.NAME]`` table comes to; ``timeout`` in seconds."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def service_url(self) -> str: ...
    @property
    def timeout(self) -> float | timedelta: ...


def open_target(settings: TargetLike) -> Target:
    """The target of these settings; nothing is asked of it yet.

    Raises:
        SettingsError: no such kind, no URL, or one that is none.
    """
    build = _KINDS.get(settings.kind)
    if build is None:
        raise SettingsError(
            f"no such kind of target: {settings.kind!r}",
            where=f"[targets.{settings.name}] kind",
            fix=f"one of: {', '.join(sorted(_KINDS))}",
        )
    return build(settings)


def _beadboard(settings: TargetLike) -> Target:
    from dolt_watch.targets.beadboard import BeadBoard

    fix = 'set BEADBOARD_URL=http://HOST:PORT, or [targets.beadboard] url = "http://HOST:PORT" in dolt_watch.toml'
    fix = fix.replace("targets.beadboard", f"targets.{settings.name}")
    if not settings.url:
        raise SettingsError(
            f"target {settings.name} has no URL: nobody to dispatch to", where=f"[targets.{settings.name}] url", fix=fix
        )
    _check_url(settings.name, "url", settings.url, fix)
    if settings.service_url:
        fix = f'[targets.{settings.name}] service_url = "http://HOST:PORT" (claude-agent-service), or leave it out'
        _check_url(settings.name, "service_url", settings.service_url, fix)
    timeout = _seconds(settings)
    return BeadBoard(settings.name, settings.url, settings.service_url, timeout)


def _check_url(name: str, key: str, url: str, fix: str) -> None:
    """Never shows the URL: it may hold a password."""
    where = f"[targets.{name}] {key}"
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # its text quotes what should be a port: the password, where that holds a '/'
        raise SettingsError(f"target {name}: {key} is no URL", where=where, fix=fix) from None
    if parts.scheme not in ("http", "https") or not usable:
        raise SettingsError(f"target {name}: {key} is not an http:// or https:// URL with a host", where=where, fix=fix)
    if parts.query or parts.fragment:
        raise SettingsError(f"target {name}: {key} must end with its path (no '?' and no '#')", where=where, fix=fix)


def _seconds(settings: TargetLike) -> float:
    timeout = settings.timeout
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    if not 0 < seconds <= 3600:
        raise SettingsError(
            f"target {settings.name}: timeout must be more than 0 and at most an hour, not {seconds:g} s",
            where=f"[targets.{settings.name}] timeout",
            fix=f'[targets.{settings.name}] timeout = "30s"',
        )
    return seconds


_KINDS: dict[str, Callable[[TargetLike], Target]] = {"beadboard": _beadboard}
