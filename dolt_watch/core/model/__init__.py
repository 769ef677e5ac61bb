"""The records that all parts of dolt_watch share: immutable, without behavior that touches the
outside.
"""

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
