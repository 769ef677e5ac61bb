"""The line of commits that leads from one commit to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dolt_watch.engines import Commit

OURS = "dolt-watch"
"""Author of the commits of dolt_watch. They mark the line that the worker followed."""


def commit_path(commits: Iterable[Commit], since: str, until: str) -> list[Commit] | None:
    """Return the commits after ``since`` up to ``until``, oldest first, each with one parent.

    At a merge, the line follows the parent with the last commit of the worker. The commits of the
    other parents become the ``side`` of the merge. If ``since`` is not an ancestor of ``until``,
    history was rewritten, and the function returns None.

    Args:
        commits: the whole range, newest first. It may contain ``since``.
    """
    newest_first = [commit for commit in commits if commit.hash != since]
    straight = straight_down(newest_first, until)
    bottom = straight[-1].parents[0] if straight else until
    if len(straight) == len(newest_first) and bottom == since:
        return straight[::-1]  # the common case, without the memory that merges need
    known = {commit.hash: commit for commit in newest_first}
    # Commit that descends from ``since`` → number of its last commit by the worker.
    rank = {since: 0}
    for number, commit in enumerate(_parents_first(known, until), start=1):
        behind = max((rank.get(parent, -1) for parent in known[commit].parents), default=-1)
        rank[commit] = number if known[commit].author == OURS and behind >= 0 else behind
    line: list[Commit] = []
    at = until
    while at != since:
        here = known.get(at)
        if here is None or rank[at] < 0:
            return None
        parent = max(here.parents, key=lambda parent: rank.get(parent, -1))  # the first if equal
        line.append(here._replace(parents=(parent,)))
        at = parent
    line.reverse()
    return list(_with_sides(line, known))


def _with_sides(line: Iterable[Commit], known: Mapping[str, Commit]) -> Iterator[Commit]:
    """Yield the line. Each merge has the commits that only its other parents reach as ``side``.

    Each commit is visited once.
    """
    reached: set[str] = set()
    for commit in line:
        parents = known[commit.hash].parents
        if len(parents) > 1:
            side: list[Commit] = []
            stack = [parent for parent in parents if parent not in commit.parents]
            while stack:
                at = stack.pop()
                if at in known and at not in reached and at not in commit.parents:
                    reached.add(at)
                    side.append(known[at])
                    stack.extend(known[at].parents)
            commit = commit._replace(side=tuple(side))
        reached.add(commit.hash)
        yield commit


def straight_down(newest_first: Iterable[Commit], until: str) -> list[Commit]:
    """Return the commits from ``until`` down, newest first, that are newer than a merge or root."""
    line: list[Commit] = []
    below = until
    for commit in newest_first:
        if commit.hash != below or len(commit.parents) != 1:
            break
        line.append(commit)
        below = commit.parents[0]
    return line


def _parents_first(known: Mapping[str, Commit], until: str) -> Iterator[str]:
    """Yield every known commit that ``until`` reaches, after its parents.

    The function does not recurse, because histories are long.
    """
    done: set[str] = set()
    stack = [until]
    while stack:
        commit = stack[-1]
        if commit in done or commit not in known:
            stack.pop()
            continue
        waits = [
            parent for parent in known[commit].parents if parent in known and parent not in done
        ]
        if waits:
            stack.extend(waits)
        else:
            done.add(commit)
            stack.pop()
            yield commit
