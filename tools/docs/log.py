"""docs/reference/log.md, from the docstrings of the log events."""

from __future__ import annotations

from dolt_watch.log_events import LogEvent
from tools.docs.reading import GENERATED, attributes, code, table

INTRO = """# Log

Each line of `dolt_watch run --log json` is a JSON object with `time`, `level`, `event`, `message`
and the values of the event: `bead`, `rule`, `gate`, `kind`, `version`, `commit`, `target`, `error`.
Filter and alert by `event`, which doesn't change between releases. `message` is for people, and
may change.

A lasting condition, such as a held or running bead, is logged with level `info` when it begins and
when it changes. Repeats have level `debug`, and are written with `--log-level debug`. The commands
that run once (`dispatch`, `reap`, `tick`) print all conditions.
"""


def page() -> str:
    means = attributes(LogEvent)
    missing = {event.name for event in LogEvent} - set(means)
    assert not missing, f"no docstring: {missing}"
    rows = ((code(event.value), means[event.name]) for event in LogEvent)
    source = GENERATED.format(source="`dolt_watch/log_events.py`")
    return "\n".join([source, INTRO, table(("event", "meaning"), rows)])
