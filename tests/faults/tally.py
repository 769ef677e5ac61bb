"""The totals of the fault tests, for the table at the end of the run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Wrong:
    """One broken promise.

    ``what`` is 'double' for a second POST without permission, 'loss' for an end that the ledger
    doesn't explain, or 'other'.
    """

    what: str
    why: str


@dataclass
class Tally:
    engine: str
    scenario: str
    kills: int = 0
    beads: int = 0
    posts: int = 0
    doubles: int = 0
    losses: int = 0
    others: int = 0
    words: list[str] = field(default_factory=list)

    def count(self, where: str, wrong: list[Wrong]) -> None:
        """Count the findings of one bead, at most once in each column."""
        kinds = {each.what for each in wrong}
        self.doubles += "double" in kinds
        self.losses += "loss" in kinds
        self.others += "other" in kinds
        self.words += [f"{where}: {each.what}: {each.why}" for each in wrong]

    def clean(self) -> None:
        """Raise AssertionError with the first findings, if there is one."""
        assert not self.words, f"{len(self.words)} wrong:\n" + "\n".join(self.words[:12])


HEADS = ("engine", "scenario", "kills", "beads", "POSTs", "double POSTs", "losses", "other")


def table(tallies: list[Tally]) -> list[str]:
    """Return a row for each engine and scenario, and a row with their sum."""
    rows: dict[tuple[str, str], list[int]] = {}
    for tally in tallies:
        for key in ((tally.engine, tally.scenario), ("both", "all")):
            row = rows.setdefault(key, [0] * 6)
            for place, value in enumerate(
                (tally.kills, tally.beads, tally.posts, tally.doubles, tally.losses, tally.others)
            ):
                row[place] += value
    total = rows.pop(("both", "all"), None)
    cells = [[*key, *map(str, row)] for key, row in rows.items()]
    if total is not None:
        cells.append(["both", "all", *map(str, total)])
    widths = [max(len(row[place]) for row in [list(HEADS), *cells]) for place in range(len(HEADS))]
    return [
        " | ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [list(HEADS), *cells]
    ]
