"""The records that all parts of dolt_watch share: immutable, and without I/O.

A name is imported from its module when it is first used. An idle tick uses two of these modules,
and must not spend time on the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # For type checkers, which can't follow __getattr__.
    from dolt_watch.core.model.bead import *  # noqa: F403
    from dolt_watch.core.model.decision import *  # noqa: F403
    from dolt_watch.core.model.entry_kinds import *  # noqa: F403
    from dolt_watch.core.model.events import *  # noqa: F403
    from dolt_watch.core.model.ledger_entry import *  # noqa: F403
    from dolt_watch.core.model.observations import *  # noqa: F403
    from dolt_watch.core.model.row_changes import *  # noqa: F403
    from dolt_watch.core.model.rule import *  # noqa: F403
    from dolt_watch.core.model.state import *  # noqa: F403

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
        "UNKNOWN_WRITER",
    ),
    "decision": ("Decision", "GateResult", "HoldReason"),
    "entry_kinds": ("ANSWERS", "BY_HAND", "EntryKind", "GLOBAL", "MAY_BE_RUNNING", "REPORTS"),
    "events": ("Event", "EventKind", "Origin"),
    "ledger_entry": ("EntryEffects", "LedgerEntry"),
    "observations": ("Capacity", "JobReport", "Lease", "Verdict"),
    "row_changes": ("Act", "CommitChanges", "RowChange", "RuleAnswers"),
    "rule": ("Rule",),
    "state": ("Outage", "Pause", "State"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
