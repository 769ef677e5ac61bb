"""Git worktrees of attempts: each on a branch of its own, from a freshly resolved base.

A worktree is removed only if nothing is lost: no uncommitted change, no commit that no other ref
reaches, no operation under way, and no process in it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import suppress
from pathlib import Path

from dolt_watch.targets.local import processes
from dolt_watch.targets.local.git import GitFailed, git

PREFIX = "dolt-watch"
_UNDER_WAY = (
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "BISECT_LOG",
    "rebase-merge",
    "rebase-apply",
)
"""Files in a worktree's git directory while a git operation waits for its user."""


def top_level(repo: Path) -> Path:
    """Return the repository's top folder. Raises GitFailed if there is no repository."""
    if git(repo, "rev-parse", "--is-bare-repository") == "true":
        return Path(git(repo, "rev-parse", "--absolute-git-dir"))
    return Path(git(repo, "rev-parse", "--show-toplevel"))


def resolve(repo: Path, base: str) -> str:
    """Return the commit that a base names now. Raises GitFailed."""
    commit = ("--end-of-options", f"{base}^{{commit}}")
    try:
        return git(repo, "rev-parse", "--verify", "--quiet", *commit)
    except GitFailed as error:
        raise GitFailed(f"base {base!r} names no commit of {repo}") from error


def branch_name(bead: str, attempt: int, token: str, repo: Path) -> str:
    """Return the name of a new branch: ``dolt-watch/BEAD/ATTEMPT``. An unusable ID is escaped.

    If the branch exists, the beginning of the token is appended. A branch is never reused.
    """
    part = bead
    if not re.fullmatch(r"[A-Za-z0-9_]+(?:[.-]?[A-Za-z0-9_]+)*", bead) or bead.endswith(".lock"):
        digest = hashlib.sha256(bead.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        part = f"{re.sub(r'[^A-Za-z0-9_-]+', '-', bead)[:80].strip('-')}-{digest}".lstrip("-")
    name = f"{PREFIX}/{part}/{attempt}"
    with suppress(GitFailed):
        git(repo, "rev-parse", "--verify", "--quiet", f"refs/heads/{name}")
        return f"{name}-{token[:8]}"
    return name


def add(repo: Path, folder: Path, branch: str, commit: str, timeout: float) -> None:
    """Make a worktree on a new branch. Raises GitFailed if nothing could be made."""
    try:
        made = ("--no-track", "-b", branch, str(folder), commit)
        git(repo, "worktree", "add", *made, timeout=timeout)
    except GitFailed:
        discard(repo, folder, branch, commit)
        raise


def discard(repo: Path, folder: Path, branch: str, commit: str) -> None:
    """Remove a worktree in which no agent was started, and its branch if it did not move.

    `git worktree prune` would also forget worktrees of the user whose folders are not mounted now.
    """
    remove = ("worktree", "remove", "--force", "--force", str(folder))  # Twice: even if locked.
    with suppress(GitFailed):
        git(repo, *remove)
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(GitFailed):
            git(repo, *remove)  # Git still has its record.
    with suppress(GitFailed):
        git(repo, "update-ref", "-d", f"refs/heads/{branch}", commit)


def kept_because(repo: Path, folder: Path, branch: str) -> str:
    """Return why a worktree and its branch must stay. Returns '' if nothing would be lost."""
    here = folder.exists()
    with suppress(OSError):
        if here and Path.cwd().is_relative_to(folder.resolve()):
            return "dolt_watch runs in it"
    if here and (working := processes.working_in(folder)):
        return f"processes work in it: {', '.join(map(str, sorted(working)[:5]))}"
    try:
        if here and (why := _work_in(folder)):
            return why
        heads = [git(folder, "rev-parse", "HEAD")] if here else []
        heads += _tip(repo, branch)
        lost = _only_here(repo, branch, heads) if heads else 0
        inside = _only_in_submodules(folder) if here and _has_submodules(folder) else 0
        place = _checked_out_at(repo, folder, branch)
    except GitFailed as error:
        return f"git can't tell whether it has changes: {error}"
    if lost:
        return f"{lost} of its commits are on no other branch"
    if inside:
        return f"{inside} commits of its submodules are on no remote branch"
    return f"its branch is checked out in {place}" if place else ""


def _work_in(folder: Path) -> str:
    """Return what is not finished in a worktree. '' if nothing is. Raises GitFailed."""
    shown = ("--untracked-files=normal", "--ignore-submodules=none")
    if git(folder, "status", "--porcelain", *shown):
        return "it has uncommitted changes"
    private = Path(git(folder, "rev-parse", "--absolute-git-dir"))
    if any((private / name).exists() for name in _UNDER_WAY):
        return "a git operation is under way in it"
    return ""


def _checked_out_at(repo: Path, folder: Path, branch: str) -> str:
    """Return another worktree that has the branch checked out, or ''. Raises GitFailed.

    Without the branch, its HEAD would name a commit that doesn't exist.
    """
    place = git(repo, "for-each-ref", "--format=%(worktreepath)", f"refs/heads/{branch}")
    other = place and Path(place).exists() and Path(place).resolve() != folder.resolve()
    return place if other else ""


def _has_submodules(folder: Path) -> bool:
    """Return whether a worktree has submodules of its own, whose repositories go with it."""
    return (Path(git(folder, "rev-parse", "--absolute-git-dir")) / "modules").is_dir()


def _only_in_submodules(folder: Path) -> int:
    """Return how many commits are in a worktree's submodules and on none of their remotes."""
    count = "git rev-list --count HEAD --branches --not --remotes"
    found = git(folder, "submodule", "--quiet", "foreach", "--recursive", count)
    return sum(int(line) for line in found.split())


def _tip(repo: Path, branch: str) -> list[str]:
    try:
        return [git(repo, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")]
    except GitFailed:
        return []  # Its user removed or renamed the branch.


def _only_here(repo: Path, branch: str, commits: list[str]) -> int:
    """Return how many commits are reachable only from the attempt's own branch."""
    others = (f"--exclude={branch}", "--branches", "--remotes", "--tags", "HEAD")
    return int(git(repo, "rev-list", "--count", *commits, "--not", *others))


def remove(repo: Path, folder: Path, branch: str) -> str:
    """Remove a worktree and its branch if nothing is lost. Returns why it must stay, or ''.

    If a user removed or moved the worktree, only the branch can stay. It is then the user's.

    git itself checks again: it refuses to remove a worktree with changes, and to delete a branch
    that moved in the meantime. A worktree with submodules it removes only by force.
    """
    if why := kept_because(repo, folder, branch):
        return why if folder.exists() else ""
    try:
        tip = _tip(repo, branch)
        if folder.exists():
            force = ["--force"] if _has_submodules(folder) else []
            git(repo, "worktree", "remove", *force, str(folder))
        if tip:
            git(repo, "update-ref", "-d", f"refs/heads/{branch}", tip[0])
    except GitFailed as error:
        return str(error)
    return ""
