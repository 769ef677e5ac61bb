"""Convert a setting from its text or TOML value to a checked value."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from dolt_watch.errors import SettingsError
from dolt_watch.sanitize import is_utf8, sanitize
from dolt_watch.suggestions import suggest

LONGEST = timedelta(days=366)
"""Maximum duration. A longer one is a typing error, and could overflow a date."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"  # Compiled at first use: most ticks check no name.
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_CHOICES: dict[str, tuple[str, ...]] = {
    "on_stale": ("block", "requeue"),
    "on_unknown": ("retry", "block"),
}
_LEAST = {"slots": 1, "log_size": 1, "max_in_flight": 1, "max_attempts": 1, "max_per_hour": 0}
_MOST = 1_000_000
# Any other text must not be empty.
_MAY_BE_EMPTY = frozenset({"running", "order_by", "url", "service_url"})
_OPTIONAL = frozenset({("notify", "target")})
"""Keys that may be empty, although a key of the same name in a rule may not."""
_MAY_BE_ZERO = frozenset({"settle", "retry_after"})
_ACTOR_LENGTH = 255
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""Errors of a path that doesn't exist."""


class RawValue(NamedTuple):
    """A value as it was written."""

    path: tuple[str, ...]
    """For example ('settle',) or ('rules', 'agent', 'when')."""
    value: Any
    """A TOML value, or text from the environment or a flag."""
    origin: str
    """Short name of the source, for ``config``, such as 'dolt_watch.toml:12'."""
    where: str
    """Source for errors: the same with the whole path."""
    typed: bool = False
    """Whether the value is from TOML, which distinguishes numbers, booleans and lists from text."""
    folder: Path | None = None
    """Folder that a relative path starts at, or None for the working directory."""

    @property
    def key(self) -> str:
        """The dotted key."""
        return ".".join(self.path)

    def type_error(self, expected: str, fix: str) -> SettingsError:
        """Return the error for a value of another form.

        ``expected`` is a noun phrase that describes the valid values. ``fix`` is a sentence.
        """
        problem = f"{self.key} must be {expected}, but is {format_raw(self.value)}."
        return SettingsError(problem, where=self.where, fix=fix)


def format_raw(value: Any) -> str:
    """Return a value for an error, in a form close to TOML."""
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
    not_utf8: str = "Save the file as UTF-8.",
) -> str:
    """Return the text of a file, without the byte order mark that some editors write.

    Args:
        path: Path of the file.
        what: Name of the file in an error.
        unreadable: The fix if the file can't be read.
        not_utf8: The fix if the file isn't UTF-8.

    Raises:
        SettingsError: The file can't be read, or isn't UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problem, fix = f"Can't read {what}: {error.strerror}.", unreadable
    except UnicodeDecodeError:
        problem, fix = f"{what[:1].upper()}{what[1:]} is not UTF-8.", not_utf8
    raise SettingsError(problem, where=str(path), fix=fix)


def exists(path: Path) -> bool:
    """Return whether a file exists.

    Raises:
        SettingsError: Its folder can't be searched. Settings that can't be read must not count as
            missing.
    """
    # Path.exists() hides these errors since Python 3.14.
    try:
        path.stat()
    except OSError as error:
        if error.errno not in _MISSING:
            raise unsearchable(path, error) from None
        return False
    except ValueError:  # A NUL.
        return False
    return True


def unsearchable(path: Path, error: OSError) -> SettingsError:
    """Return the error for a file in a folder that can't be searched."""
    problem = f"Can't search {path.parent}: {error.strerror}."
    fix = f"Run as the owner of the folder, or allow access: `chmod g+rx {path.parent}`."
    return SettingsError(problem, where=str(path), fix=fix)


def expand(text: str, where: str) -> Path:
    """Return the path of a text, with the home folder in place of "~" or "~USER".

    Raises:
        SettingsError: There is no such home folder, or no path can contain the text.
    """
    try:
        if "\0" not in text:
            return Path(text).expanduser()
        problem = f"A path can't contain NUL, but is {format_raw(text)}."
    except RuntimeError:
        problem = f"Can't find the home folder of the path {format_raw(text)}."
    raise SettingsError(problem, where=where, fix="Use the absolute path.")


def check_name(name: str, what: str, where: str) -> None:
    """Raise SettingsError for a name of a rule or target with other characters, or a long one.

    ``what`` is "rule" or "target".
    """
    if not re.fullmatch(_NAME, name):
        expected = "at most 64 letters, digits, '-' and '_'"
        problem = f"The name of a {what} must be {expected}, but is {format_raw(name)}."
        fix = f"Rename it, for example to [{what}s.agent-2]."
        raise SettingsError(problem, where=where, fix=fix)


def convert(given: RawValue, kind: str) -> Any:
    """Return the checked value of a setting. Raises SettingsError.

    ``kind`` is the annotation of the field as text, or "secret".
    """
    reader = READERS.get(kind)
    if reader is None:
        problem = f"{given.key} has an unsupported type: {kind}."
        fix = f"Ask the author of the target to use one of: {', '.join(sorted(READERS))}."
        raise SettingsError(problem, where=given.where, fix=fix)
    return reader(given)


def _example(given: RawValue, value: str) -> str:
    """Return a fix with a valid value, in the form of the source."""
    return f"Write `{given.path[-1]} = {value}`." if given.typed else f"Use {value}."


def _duration(given: RawValue) -> timedelta:
    expected = "a duration such as '30m', '2h', '90s' or '1h30m'"
    value = given.value
    if re.fullmatch(r"[+-]?\d+(\.\d+)?", str(value).strip()):
        number = str(value).strip().lstrip("+-")
        raise given.type_error(expected, f"Add a unit, for example '{number}s' for seconds.")
    if not isinstance(value, str):
        raise given.type_error(expected, "Use for example '30s'.")
    import durationpy  # Late: an idle tick with default durations needs none.

    try:
        duration: timedelta = durationpy.from_str(value)
    except (durationpy.DurationError, OverflowError, ValueError):
        fix = "Use for example '30m'. The units are ms, s, m, h, d and w."
        raise given.type_error(expected, fix) from None
    if duration < timedelta(0):
        raise given.type_error("a positive duration", f"Use {value.lstrip('-')!r}.")
    if not duration and given.path[-1] not in _MAY_BE_ZERO:
        raise given.type_error("a duration of more than 0", "Use for example '30s'.")
    most = timedelta(hours=1) if given.path[-1] == "timeout" else LONGEST
    if duration > most:
        shown = duration_text(most)
        raise given.type_error(f"at most {shown}", f"Use {shown!r} or less.")
    return duration


def duration_text(duration: timedelta) -> str:
    """Return a duration as text that ``_duration`` reads back: '1h30m', '2s', '1.5s' or '0s'.

    ``durationpy.to_str`` isn't used: it rounds fractions of a second and writes 200ms for 0.2s,
    which would change the hash of recorded settings.
    """
    micros = duration // timedelta(microseconds=1)
    hours, rest = divmod(micros, 3_600_000_000)
    minutes, rest = divmod(rest, 60_000_000)
    seconds, fraction = divmod(rest, 1_000_000)
    tail = f"{seconds}.{fraction:06d}".rstrip("0") if fraction else str(seconds)
    parts = ((hours, f"{hours}h"), (minutes, f"{minutes}m"), (rest, f"{tail}s"))
    return "".join(text for number, text in parts if number) or "0s"


def parse_bool(value: Any) -> bool | None:
    """Return the boolean of a value, or None if it is neither true nor false."""
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
        raise given.type_error("text", f'Put the value in quotes: `{key} = "…"`.')
    if key == "database" or key.endswith(("url", "secret", "token", "password")):
        # Blanks around it are never intended: a Secret made by `echo` ends with a newline.
        value = value.strip()
    if not value.strip() and key not in _MAY_BE_EMPTY and given.path not in _OPTIONAL:
        line = "the line" if given.typed else "the value"
        raise given.type_error("text that is not empty", f"Omit {line} to use the default.")
    check_utf8(given, value)
    choices = _CHOICES.get(key)
    if choices and value not in choices:
        raise given.type_error(f"one of {', '.join(choices)}", suggest(value, choices))
    if key.startswith("actor_") and (len(value) > _ACTOR_LENGTH or not value.isprintable()):
        expected = f"a name of at most {_ACTOR_LENGTH} printable characters"
        raise given.type_error(expected, "Use for example beads-dispatcher.")
    return value


def check_utf8(given: RawValue, *texts: str) -> None:
    """Raise SettingsError for a text that isn't UTF-8, as of an environment variable.

    Neither a database nor JSON can store it.
    """
    if not all(map(is_utf8, texts)):
        raise given.type_error("text in UTF-8", "Encode the value in UTF-8.")


def _number(given: RawValue) -> float:
    value = given.value
    if not given.typed and re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _MOST:
        raise given.type_error(f"a number above 0, at most {_MOST}", _example(given, "5"))
    return float(value)


def _path(given: RawValue) -> Path:
    return (given.folder or Path()) / expand(_text(given), given.where)


def _list(given: RawValue) -> tuple[str, ...]:
    """Return a list of texts. In the environment and on the command line, it is JSON."""
    value = given.value if given.typed else _json(given.value)
    texts = value if isinstance(value, list) else [None]
    if not all(isinstance(each, str) and "\0" not in each for each in texts):
        raise given.type_error("a list of texts", _example(given, '["…", "…"]'))
    check_utf8(given, *texts)
    return tuple(texts)


def _table(given: RawValue) -> dict[str, str]:
    value = given.value if given.typed else _json(given.value)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        example = '{name = "…"}' if given.typed else '{"name": "…"}'
        raise given.type_error("a table of texts", _example(given, example))
    check_utf8(given, *value, *value.values())
    return dict(value)


def _json(text: str) -> Any:
    import json  # Late: few settings are lists or tables.

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
