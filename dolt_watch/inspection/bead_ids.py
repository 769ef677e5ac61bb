"""Bead IDs as people type them: a whole ID, or a part of it that no other bead has."""

from __future__ import annotations

from difflib import get_close_matches

from dolt_watch.engines import Engine
from dolt_watch.errors import SettingsError
from dolt_watch.history.reader import commits_of_bead, whole_line
from dolt_watch.history.revisions import head_commit
from dolt_watch.sanitize import sanitize

SHOWN = 5
"""Number of IDs that an error names."""


def resolve_bead_id(engine: Engine, text: str, where: str = "BEAD_ID") -> str:
    """Return the ID of the bead that ``text`` names, in the order of bd's ``ResolvePartialID``.

    A whole ID comes first, then an ID without its prefix (``a3f`` for ``bd-a3f``), then a part of
    an ID that only one bead has. Beads that only the ledger still knows count too. A whole ID of a
    bead that only older commits contain is never taken for a part of another ID.

    Args:
        engine: The tracker's database.
        text: What the user wrote.
        where: Name of the argument or option, for errors.

    Returns:
        The ID. A text that names no bead is returned unchanged: history may still know it.

    Raises:
        SettingsError: The text is empty, or a part of several IDs.
    """
    word = text.strip()
    if not word:
        raise SettingsError(
            "The bead ID is empty.", where=where, fix="Run `bd list` to list the IDs."
        )
    if _is_known(engine, word):
        return word
    ids = known_ids(engine)
    found = [id for id in ids if id.endswith(f"-{word}")] or [
        id for id in ids if word in id.partition("-")[2] or ("-" in word and id.startswith(word))
    ]
    if not found or _in_history(engine, word):
        return text
    if len(found) == 1:
        return found[0]
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    raise SettingsError(
        f"{sanitize(word, 80)!r} is a part of {len(found)} bead IDs:"
        f" {', '.join(sorted(found)[:SHOWN])}{more}.",
        where=where,
        fix="Write more characters of the ID.",
    )


def require_bead(engine: Engine, text: str, where: str = "BEAD_ID") -> str:
    """Return the ID of the bead that ``text`` names in the tracker, the ledger or older commits.

    The arguments are those of ``resolve_bead_id``.

    Raises:
        SettingsError: No bead has this ID, or several do.
    """
    bead = resolve_bead_id(engine, text, where)
    if not _is_known(engine, bead) and not _in_history(engine, bead):
        near = get_close_matches(bead, known_ids(engine), 3, 0.5)
        raise SettingsError(
            f"There is no bead {sanitize(bead, 80)!r}.",
            where=where,
            fix=f"Did you mean {', '.join(near)}?" if near else "Run `bd list` to list the IDs.",
        )
    return bead


def _is_known(engine: Engine, bead: str) -> bool:
    """Return whether the tracker or the ledger has a bead of exactly this ID."""
    if engine.query("SELECT 1 FROM issues WHERE id = ?", (bead,)):
        return True
    sql = "SELECT 1 FROM watch_decision WHERE bead_id = ? LIMIT 1"
    return bool(engine.columns("watch_decision") and engine.query(sql, (bead,)))


def _in_history(engine: Engine, bead: str) -> bool:
    """Return whether any commit contains a bead of exactly this ID."""
    line = whole_line(engine, head_commit(engine))
    first = "SELECT 1 FROM issues AS OF ? WHERE id = ?"
    if engine.query(first, (line.first.hash, bead)):
        return True
    return next(iter(commits_of_bead(engine, line.commits, bead)), None) is not None


def known_ids(engine: Engine) -> set[str]:
    """Return the IDs of all beads in the tracker and in the ledger."""
    ids = {str(id) for (id,) in engine.query("SELECT id FROM issues")}
    if engine.columns("watch_decision"):
        sql = "SELECT DISTINCT bead_id FROM watch_decision WHERE bead_id <> ''"
        ids |= {str(id) for (id,) in engine.query(sql)}
    return ids
