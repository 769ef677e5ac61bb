"""The records that all parts of dolt_watch share: immutable, and without I/O.

Each name is imported from its module when it is first used: an idle tick needs two of these
modules, and does not pay for the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dolt_watch.core.model.bead import (
        BLOCKED,
        CLOSED,
        EMPTY,
        IN_FLIGHT,
        IN_PROGRESS,
        OPEN,
        ActivitySignal,
        Bead,
        Phase,
        RuleMatch,
    )
    from dolt_watch.core.model.decision import Decision, GateResult, HoldReason
    from dolt_watch.core.model.entry_kinds import (
        ANSWERS,
        BY_HAND,
        GLOBAL,
        MAY_BE_RUNNING,
        REPORTS,
        EntryKind,
    )
    from dolt_watch.core.model.events import Event, EventKind, Origin
    from dolt_watch.core.model.ledger_entry import EntryEffects, LedgerEntry
    from dolt_watch.core.model.observations import Capacity, JobReport, Lease, Verdict
    from dolt_watch.core.model.row_changes import Act, CommitChanges, RowChange, RuleAnswers
    from dolt_watch.core.model.rule import Rule
    from dolt_watch.core.model.state import Outage, Pause, State

_NAMES = {
    "bead": (
        "ActivitySignal",
        "BLOCKED",
        "Bead",
        "CLOSED",
        "EMPTY",
        "IN_FLIGHT",
        "IN_PROGRESS",
        "OPEN",
        "Phase",
        "RuleMatch",
    ),
    "decision": (
        "Decision",
        "GateResult",
        "HoldReason",
    ),
    "entry_kinds": (
        "ANSWERS",
        "BY_HAND",
        "EntryKind",
        "GLOBAL",
        "MAY_BE_RUNNING",
        "REPORTS",
    ),
    "events": (
        "Event",
        "EventKind",
        "Origin",
    ),
    "ledger_entry": (
        "EntryEffects",
        "LedgerEntry",
    ),
    "observations": (
        "Capacity",
        "JobReport",
        "Lease",
        "Verdict",
    ),
    "row_changes": (
        "Act",
        "CommitChanges",
        "RowChange",
        "RuleAnswers",
    ),
    "rule": ("Rule",),
    "state": (
        "Outage",
        "Pause",
        "State",
    ),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


__all__ = [
    "ANSWERS",
    "BLOCKED",
    "BY_HAND",
    "CLOSED",
    "EMPTY",
    "GLOBAL",
    "IN_FLIGHT",
    "IN_PROGRESS",
    "MAY_BE_RUNNING",
    "OPEN",
    "REPORTS",
    "Act",
    "ActivitySignal",
    "Bead",
    "Capacity",
    "CommitChanges",
    "Decision",
    "EntryEffects",
    "EntryKind",
    "Event",
    "EventKind",
    "GateResult",
    "HoldReason",
    "JobReport",
    "Lease",
    "LedgerEntry",
    "Origin",
    "Outage",
    "Pause",
    "Phase",
    "RowChange",
    "Rule",
    "RuleAnswers",
    "RuleMatch",
    "State",
    "Verdict",
]
