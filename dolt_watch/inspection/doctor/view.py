"""The text of ``dolt_watch doctor``: problems first, then the checks that passed, then a sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from dolt_watch.inspection.doctor.findings import Finding, Level
from dolt_watch.inspection.screen import GAP, Cell, Column, Screen

_COLUMNS = (Column(), Column(), Column(least=20))
_ORDER = (Level.FAILURE, Level.WARNING, Level.OK)
_NAMES = {Level.OK: "ok", Level.WARNING: "warnings", Level.FAILURE: "failures"}


def finding_lines(
    findings: Sequence[Finding], screen: Screen, *, quiet: bool = False
) -> list[Text]:
    """Return the lines of ``doctor``. ``quiet``: problems only, else no line at all."""
    states = {level: screen.state(level.value) for level in _ORDER}
    state_width = max(len(state.text) for state in states.values())
    check_width = max((len(one.check) for one in findings), default=0)
    indent = state_width + check_width + 2 * len(GAP)
    shown = sorted(findings, key=lambda one: _ORDER.index(one.level))
    lines: list[Text] = []
    for number, one in enumerate(shown):
        if one.level is Level.OK and quiet:
            continue
        if one.level is Level.OK and number and shown[number - 1].level is not Level.OK:
            lines.append(Text())
        state = states[one.level]
        row = (
            Cell(state.text.ljust(state_width), state.style),
            Cell(one.check.ljust(check_width)),
            Cell(screen.sentence(one.says)),
        )
        lines += screen.rows(_COLUMNS, [row], wrap=True)
        if one.fix:
            lines += screen.prose(f"fix: {one.fix}", indent, "bold")
    if not quiet:
        lines += [Text(), Text(summary(findings))]
    return lines


def summary(findings: Sequence[Finding]) -> str:
    """Return the number of findings by level: '17 ok, 1 warning, 0 failures'."""
    counts = Counter(one.level for one in findings)
    parts = []
    for level in reversed(_ORDER):
        name = _NAMES[level]
        parts.append(
            f"{counts[level]} {name[:-1] if counts[level] == 1 and name != 'ok' else name}"
        )
    return ", ".join(parts)
