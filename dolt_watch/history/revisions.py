"""Commits as users name them: a hash, the beginning of a hash, or a time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from dolt_watch.engines import Commit, Engine
from dolt_watch.errors import NoSuchCommit, SettingsError
from dolt_watch.sanitize import sanitize
from dolt_watch.timestamps import iso, parse_foreign

SHORTEST = 4
"""Minimum number of characters of a shortened hash."""

_HASH = re.compile(r"[0-9a-v]+")  # Dolt counts in base 32, DoltLite in hexadecimal
_FORMS = "Specify a commit's hash or its beginning, HEAD, or a time such as 2026-04-18T22:35:46Z."


def timestamp_in(text: str) -> datetime | None:
    """Return the time in the text, or None. Without a zone it is UTC.

    A hash has no dash, and a time has one.
    """
    return parse_foreign(text.strip()) if "-" in text else None


def head_commit(engine: Engine) -> str:
    """Return the hash of the last commit of the connection's branch."""
    return str(engine.query("SELECT HASHOF('HEAD')")[0][0])


def resolve_revision(engine: Engine, text: str, head: str, where: str = "") -> Commit:
    """Return the commit that ``text`` names in the history of ``head``.

    A time means the last commit up to then. A full hash is one lookup; everything else reads the
    list of commits.

    Args:
        where: The option, for the error.

    Raises:
        SettingsError: There is no such commit, more than one, or the time is before the first.
    """
    word = text.strip()
    # A time first: it contains a dash, a hash doesn't.
    moment = timestamp_in(word)
    if moment is not None:
        return _last_commit_before(engine, moment, head, where)
    word = head if word == "HEAD" else word.lower()
    if not _HASH.fullmatch(word):
        raise SettingsError(
            f"{sanitize(text, 80)!r} is neither a commit nor a time.",
            where=where or None,
            fix=_FORMS,
        )
    if len(word) < SHORTEST:
        fix = f"Specify at least {SHORTEST} characters of its hash."
        raise SettingsError(f"{word!r} is too short for a commit.", where=where or None, fix=fix)
    # A full hash needs no list of all commits.
    if len(word) == len(head):
        commit = engine.commit_of(word)
        found = [commit] if commit is not None and engine.is_ancestor(word, head) else []
    else:
        found = [commit for commit in engine.commits(None, head) if commit.hash.startswith(word)]
    if not found:
        raise NoSuchCommit(
            f"History contains no commit {sanitize(word, 80)}{_shallow(engine, head)}.",
            where=where or None,
            fix=_FORMS,
            whole=len(word) == len(head),
        )
    # An ambiguous hash is an error: the wrong commit would give a wrong answer.
    if len(found) > 1:
        some = ", ".join(commit.hash[: len(word) + 6] for commit in found[:3])
        fix = f"Specify more of its hash: {some}{', …' if len(found) > 3 else ''}"
        raise SettingsError(
            f"{len(found)} commits begin with {word}.", where=where or None, fix=fix
        )
    return found[0]


def _last_commit_before(engine: Engine, moment: datetime, head: str, where: str) -> Commit:
    """Return the newest commit up to a time, on the lines that lead back from ``head``.

    Clocks of several machines write one history, so dates alone don't order commits.
    """
    known = {commit.hash: commit for commit in engine.commits(None, head)}
    found: list[Commit] = []
    seen, stack = {head}, [head]
    while stack:
        commit = known[stack.pop()]
        if commit.date <= moment:
            found.append(commit)
            continue
        new = [parent for parent in commit.parents if parent in known and parent not in seen]
        seen.update(new)
        stack += new
    if not found:
        first = min(known.values(), key=lambda commit: commit.date)
        cut = " with a shallow clone" if _is_cut(engine, known.values()) else ""
        raise SettingsError(
            f"History contains no commit before {iso(moment)}. It begins at"
            f" {iso(first.date)}{cut}.",
            where=where or None,
            fix=f"Specify {iso(first.date + timedelta(seconds=1))} or later.",
        )
    return max(found, key=lambda commit: commit.date)


def _shallow(engine: Engine, head: str) -> str:
    return ": this is a shallow clone" if _is_cut(engine, engine.commits(None, head)) else ""


def _is_cut(engine: Engine, known: Iterable[Commit]) -> bool:
    """Return whether a shallow clone cuts a history off below one of its roots."""
    roots = (engine.commit_of(commit.hash) for commit in known if not commit.parents)
    return any(root is not None and root.parents for root in roots)
