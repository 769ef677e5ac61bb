"""The records that all parts of dolt_watch share: immutable, without behavior that touches the outside."""

from dolt_watch.core.model.bead import BLOCKED, CLOSED, EMPTY, IN_FLIGHT, IN_PROGRESS, OPEN, Bead, Facts, Phase, Sign
from dolt_watch.core.model.decision import Check, Decision, Hold
from dolt_watch.core.model.entry_kinds import ANSWERS, BY_HAND, GLOBAL, LIVE, REPORTS, Kind
from dolt_watch.core.model.events import Event, Origin, What
from dolt_watch.core.model.ledger_entry import Entry, Wrote
from dolt_watch.core.model.observations import Capacity, JobReport, Lease, Verdict
from dolt_watch.core.model.row_changes import Act, Answers, CommitChanges, RowChange
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
    "LIVE",
    "OPEN",
    "REPORTS",
    "Act",
    "Answers",
    "Bead",
    "Capacity",
    "Check",
    "CommitChanges",
    "Decision",
    "Entry",
    "Event",
    "Facts",
    "Hold",
    "JobReport",
    "Kind",
    "Lease",
    "Origin",
    "Outage",
    "Pause",
    "Phase",
    "RowChange",
    "Rule",
    "Sign",
    "State",
    "Verdict",
    "What",
    "Wrote",
]
