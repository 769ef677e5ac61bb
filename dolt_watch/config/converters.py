"""One given value: from what somebody wrote to a checked value, or an error that says where and
what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import sanitize
from dolt_watch.suggestions import suggest

LONGEST = timedelta(days=366)
"""Longer durations are typing errors, and overflow dates when added to one."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"  # compiled when first needed: most ticks name nothing
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_CHOICES: dict[str, tuple[str, ...]] = {
    "on_stale": ("block", "requeue"),
    "on_unknown": ("retry", "block"),
}
_LEAST = {"slots": 1, "log_size": 1, "max_in_flight": 1, "max_attempts": 1, "max_per_hour": 0}
_MOST = 1_000_000
# These may be nothing; any other text must say something.
_MAY_BE_EMPTY = frozenset({"running", "order_by", "url", "service_url"})
_NOBODY = frozenset({("notify", "target")})
"""A rule's target must be somebody."""
_MAY_BE_ZERO = frozenset({"settle", "retry_after"})
_ACTOR_LENGTH = 255
_SECRETS = ("secret", "token", "password")


class RawValue(NamedTuple):
    """A value as somebody wrote it."""

    path: tuple[str, ...]
    """('settle',) or ('rules', 'agent', 'when')."""
    value: Any
    """As TOML has it; text from the environment and from flags."""
    origin: str
    """Short, for ``config``: 'dolt_watch.toml:12'."""
    where: str
    """For errors: the same with the whole path."""
    typed: bool = False
    """From TOML, where numbers, booleans and lists are told from text."""
    folder: Path | None = None
    """The file's, for paths; None: the working directory."""

    @property
    def key(self) -> str:
        return ".".join(self.path)

    def type_error(self, expected: str, fix: str) -> SettingsError:
        return SettingsError(
            f"{self.key} is {expected}, not {format_raw(self.value)}", where=self.where, fix=fix
        )


def format_raw(value: Any) -> str:
    """As TOML writes it, more or less."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(sanitize(value, 80))
    return "a table" if isinstance(value, dict) else sanitize(str(value), 80)


def read_text(
    path: Path,
    what: str,
    *,
    unreadable: str,
    not_utf8: str = "save it as UTF-8",
    encoding: str = "utf-8",
) -> str:
    """Return the text of a file.

    Args:
        path: Of the file.
        what: Its name in an error.
        unreadable: The fix if it cannot be read.
        not_utf8: The fix if it is not UTF-8.
        encoding: "utf-8", or "utf-8-sig" to leave out the mark that some editors put before it.

    Raises:
        SettingsError: unreadable, or not UTF-8.
    """
    try:
        return path.read_bytes().decode(encoding)
    except OSError as error:
        raise SettingsError(
            f"{what} cannot be read: {error.strerror}", where=str(path), fix=unreadable
        ) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{what} is not UTF-8", where=str(path), fix=not_utf8) from None


def exists(path: Path) -> bool:
    """Is there such a file?

    Raises SettingsError where its folder may not be looked into: settings that cannot be seen
    must not count as none.
    """
    try:
        return path.exists()
    except OSError as error:
        raise SettingsError(
            f"{path.parent} cannot be looked into: {error.strerror}",
            where=str(path),
            fix=f"run as the user that owns it, or let this one in: chmod g+rx {path.parent}",
        ) from None


def check_name(name: str, what: str, where: str) -> None:
    if not re.fullmatch(_NAME, name):
        raise SettingsError(
            f"the name of a {what} is letters, digits, '-' and '_' (at most 64), not"
            f" {format_raw(name)}",
            where=where,
            fix=f"rename it, for example [{what}s.agent-2]",
        )


def convert(given: RawValue, kind: str) -> Any:
    """``kind`` is the field's annotation, as text; 'secret' is a text that no file holds."""
    reader = READERS.get(kind)
    if reader is None:
        fix = f"its author may use: {', '.join(sorted(READERS))}"
        raise SettingsError(
            f"{given.key} has a type that settings cannot hold: {kind}", where=given.where, fix=fix
        )
    return reader(given)


def _example(given: RawValue, value: str) -> str:
    """How the same line would be right, in the manner of the place where it stands."""
    return f"write {given.path[-1]} = {value}" if given.typed else f"write {value}"


def _duration(given: RawValue) -> timedelta:
    expected = "a duration such as '30m', '2h', '90s' or '1h30m'"
    value = given.value
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", str(value).strip()):
        raise given.type_error(
            expected,
            f"a number needs its unit: write '{str(value).strip().lstrip('+-')}s' for seconds",
        )
    if not isinstance(value, str):
        raise given.type_error(expected, "write '30s'")
    import durationpy

    try:
        duration: timedelta = durationpy.from_str(value)
    except (durationpy.DurationError, OverflowError, ValueError):
        raise given.type_error(
            expected, "write '30m'; the units are s, m and h (and ms, d)"
        ) from None
    if duration < timedelta(0):
        raise given.type_error("no negative duration", f"write {value.lstrip('-')!r}")
    if not duration and given.path[-1] not in _MAY_BE_ZERO:
        raise given.type_error("a duration of more than 0", "write '30s'")
    most = timedelta(hours=1) if given.path[-1] == "timeout" else LONGEST
    if duration > most:
        raise given.type_error(
            f"at most {duration_text(most)}", f"write {duration_text(most)!r} or less"
        )
    return duration


def duration_text(duration: timedelta) -> str:
    """'1h30m', '2s', '1.5s', '0s': what ``_duration`` reads back.

    ``durationpy.to_str`` rounds fractions of a second, and writes 200ms for 0.2s: the hash of
    recorded settings would change.
    """
    micros = duration // timedelta(microseconds=1)
    hours, rest = divmod(micros, 3_600_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    seconds, fraction = divmod(rest, 1_000_000)
    tail = f"{seconds}.{fraction:06d}".rstrip("0") if fraction else str(seconds)
    parts = [
        f"{hours}h" if hours else "",
        f"{minutes}m" if minutes else "",
        f"{tail}s" if rest else "",
    ]
    return "".join(parts) or "0s"


def parse_bool(value: Any) -> bool | None:
    """None where it is neither."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    return True if word in _TRUE else False if word in _FALSE else None


def _boolean(given: RawValue) -> bool:
    value = parse_bool(given.value)
    if value is None or (given.typed and not isinstance(given.value, bool)):
        raise given.type_error("true or false", _example(given, "true"))
    return value


def _integer(given: RawValue) -> int:
    least = _LEAST.get(given.path[-1], 0)
    expected = f"a whole number from {least} to {_MOST}"
    value = given.value
    if not given.typed and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
        raise given.type_error(expected, _example(given, str(max(least, 1))))
    return value


def _text(given: RawValue) -> str:
    key, value = given.path[-1], given.value
    if not isinstance(value, str):
        raise given.type_error("text", f'put it in quotes: {key} = "…"')
    if _is_place(given.path):
        value = value.strip()  # as a Secret made by `echo`, or $(cat file), brings them along
    if not value.strip() and key not in _MAY_BE_EMPTY and given.path not in _NOBODY:
        line = "the line" if given.typed else "it"
        raise given.type_error("text that is not empty", f"leave {line} out for the default")
    if any("\ud800" <= each <= "\udfff" for each in value):
        # An environment variable that is not UTF-8; no database and no JSON could hold it.
        raise given.type_error("text in UTF-8", "write it in UTF-8")
    choices = _CHOICES.get(key)
    if choices and value not in choices:
        raise given.type_error(f"one of {', '.join(choices)}", suggest(value, choices))
    if key.startswith("actor_") and (len(value) > _ACTOR_LENGTH or not value.isprintable()):
        raise given.type_error(
            f"a name of at most {_ACTOR_LENGTH} printable characters", "write beads-dispatcher"
        )
    return value


def _is_place(path: tuple[str, ...]) -> bool:
    """Return whether the value is a URL or a secret, around which a blank is never meant."""
    return path[-1].endswith("url") or path[-1] == "database" or path[-1].endswith(_SECRETS)


def _number(given: RawValue) -> float:
    value = given.value
    if not given.typed and re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST:
        raise given.type_error(f"a number above 0, at most {_MOST}", _example(given, "5"))
    return float(value)


def _path(given: RawValue) -> Path:
    return (given.folder or Path()) / Path(_text(given)).expanduser()


def _list(given: RawValue) -> tuple[str, ...]:
    """A list of texts; in the environment and on the command line, as JSON."""
    value = given.value if given.typed else _json(given.value)
    if not isinstance(value, list) or not all(
        isinstance(each, str) and "\0" not in each for each in value
    ):
        raise given.type_error("a list of texts", _example(given, '["…", "…"]'))
    return tuple(value)


def _table(given: RawValue) -> dict[str, str]:
    value = given.value if given.typed else _json(given.value)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise given.type_error(
            "a table of texts", _example(given, '{name = "…"}' if given.typed else '{"name": "…"}')
        )
    return dict(value)


def _json(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


READERS: dict[str, Callable[[RawValue], Any]] = {
    "str": _text,
    "secret": _text,
    "bool": _boolean,
    "int": _integer,
    "float": _number,
    "timedelta": _duration,
    "Path | None": _path,
    "tuple[str, ...]": _list,
    "Mapping[str, str]": _table,
}
