"""docs/reference/log.md: the events of the log, from their docstrings."""

from __future__ import annotations

from dolt_watch.log_events import LogEvent
from tools.docs.reading import GENERATED, attributes, code, table

INTRO = """# Log

`dolt_watch run --log json` writes one JSON object a line: `time`, `level`, `event`, `message`, and
the facts of the event: `bead`, `rule`, `gate`, `kind`, `version`, `commit`, `target`, `error`.
`event` is stable: filter and alert by it. `message` is for people, and may be reworded.

A condition that lasts (a bead is held, a bead runs) is a line of level `info` when it begins and
when it changes. Its repeats are of level `debug`; `--log-level debug` writes them.
The commands that run once (`dispatch`, `reap`, `tick`) say every condition.
"""


def page() -> str:
    means = attributes(LogEvent)
    missing = {event.name for event in LogEvent} - set(means)
    assert not missing, f"without a docstring: {missing}"
    rows = ((code(event.value), means[event.name]) for event in LogEvent)
    source = GENERATED.format(source="`dolt_watch/log_events.py`")
    return "\n".join([source, INTRO, table(("event", "means"), rows)])
