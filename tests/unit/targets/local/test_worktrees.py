"""Worktrees of attempts, with a real git."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.core.model.target_answers import Refused
from dolt_watch.targets.local import sweeping, worktrees
from dolt_watch.targets.local.git import GitFailed, git
from dolt_watch.testing.target_conformance import make_task
from tests.unit.targets.local.agents import ScriptTarget, ended, local, output, run, start, until

pytestmark = pytest.mark.long

COMMIT = "echo work > work && git add work && git -c user.name=a -c user.email=a@b commit -qm work"
DAY = 86400.0


def sh(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    sh(folder, "git", "init", "-q", "-b", "main")
    sh(
        folder,
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "one",
    )
    return folder


def agent(repo: Path, script: str, **settings: Any) -> ScriptTarget:
    return local(repo.parent, script, repo=repo, directory=None, **settings)


def worktree(target: ScriptTarget) -> Path:
    return target.store.folder(target.token) / "worktree"


def branches(repo: Path) -> list[str]:
    return sh(repo, "git", "branch", "--format=%(refname:short)").split()


def attempt(target: ScriptTarget, number: int = 1, bead: str = "bd-1") -> None:
    answer = target.dispatch(
        make_task(bead).__class__(bead, make_task(bead).row, "agent", number), target.token
    )
    assert not isinstance(answer, Refused), answer
    ended(target, target.token)


def test_an_attempt_works_on_a_branch_of_its_own(repo: Path) -> None:
    target = agent(repo, "git rev-parse --abbrev-ref HEAD; pwd; " + COMMIT)
    attempt(target, 3)
    assert output(target).splitlines() == ["dolt-watch/bd-1/3", str(worktree(target))]
    assert sh(repo, "git", "log", "--format=%s", "dolt-watch/bd-1/3").splitlines() == [
        "work",
        "one",
    ]
    assert branches(repo) == ["dolt-watch/bd-1/3", "main"]
    assert sh(repo, "git", "status", "--porcelain") == ""


def test_each_attempt_starts_from_the_base_of_its_time(repo: Path) -> None:
    attempt(agent(repo, COMMIT), 1)
    (repo / "new").write_text("new", "utf-8")
    sh(repo, "git", "add", "new")
    sh(repo, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "two")
    second = agent(repo, "ls; exit 1")
    attempt(second, 2)
    assert output(second) == "new\n", "nothing of the first attempt, and the newest base"


def test_a_branch_is_never_reused(repo: Path) -> None:
    first, second = agent(repo, COMMIT), agent(repo, "git rev-parse --abbrev-ref HEAD; " + COMMIT)
    attempt(first)
    attempt(second)
    assert output(second).strip() == f"dolt-watch/bd-1/1-{second.token[:8]}"
    assert len(branches(repo)) == 3


@pytest.mark.parametrize(
    "bead", ["bd.1", "ä/ö", "-rf", "a..b", "x.lock", "@{-1}", "a b~^:?*[\\", "bd-1.2"]
)
def test_any_id_makes_a_branch(repo: Path, bead: str) -> None:
    attempt(agent(repo, COMMIT), 1, bead)
    made = [name for name in branches(repo) if name != "main"]
    assert len(made) == 1 and made[0].startswith("dolt-watch/") and made[0].endswith("/1")


def test_base_names_another_branch(repo: Path) -> None:
    sh(repo, "git", "branch", "stable")
    (repo / "new").write_text("new", "utf-8")
    sh(repo, "git", "add", "new")
    sh(repo, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "two")
    target = agent(repo, "ls; exit 1", base="stable")
    attempt(target)
    assert output(target) == ""


def test_a_worktree_without_work_goes_at_once(repo: Path) -> None:
    target = agent(repo, "exit 0")
    attempt(target)
    assert not worktree(target).exists()
    assert branches(repo) == ["main"]
    assert target.store.folder(target.token).exists(), "its log stays"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("echo x > file", id="untracked"),
        pytest.param(COMMIT, id="committed"),
        pytest.param(
            COMMIT
            + "; git checkout -q --detach; echo 2 >> work; git -c user.name=a -c user.email=a@b"
            " commit -qam 2",
            id="detached",
        ),
        pytest.param(COMMIT + "; echo x >> work; git add work", id="staged"),
        pytest.param(
            COMMIT
            + "; mkdir $(git rev-parse --git-dir)/rebase-merge; git checkout -q --detach HEAD^",
            id="rebase",
        ),
    ],
)
def test_work_that_would_be_lost_is_never_removed(repo: Path, script: str) -> None:
    target = agent(repo, script)
    attempt(target)
    sweeping.sweep(target.store, target._now() + 1000 * DAY, 7 * DAY)
    assert worktree(target).exists()
    assert list(target.leftovers()) == [], "its time is not over yet"
    assert "dolt-watch/bd-1/1" in branches(repo)
    ((problem, fix),) = sweeping.leftovers(target.store, target._now() + 8 * DAY, 7 * DAY)
    folder, branch = worktree(target), "dolt-watch/bd-1/1"
    assert re.fullmatch(
        rf"worktree {re.escape(str(folder))} of bd-1 \(branch {branch}\) is kept: .+", problem
    )
    assert f"worktree remove --force {folder} && git -C {repo} branch -D {branch}`" in fix


def test_merged_work_goes_after_its_time(repo: Path) -> None:
    target = agent(repo, COMMIT)
    attempt(target)
    sh(repo, "git", "merge", "-q", "dolt-watch/bd-1/1")
    sweeping.sweep(target.store, target._now() + 6 * DAY, 7 * DAY)
    assert worktree(target).exists()
    sweeping.sweep(target.store, target._now() + 8 * DAY, 7 * DAY)
    assert not worktree(target).exists() and not target.store.folder(target.token).exists()
    assert branches(repo) == ["main"]
    assert (repo / "work").exists()


def test_commits_on_another_branch_of_the_agent_are_kept_there(repo: Path) -> None:
    target = agent(repo, "git checkout -qb feature; " + COMMIT)
    attempt(target)
    sweeping.sweep(target.store, target._now() + 8 * DAY, 7 * DAY)
    assert not worktree(target).exists()
    assert branches(repo) == ["feature", "main"]


def test_a_branch_with_work_outlives_its_removed_worktree(repo: Path) -> None:
    target = agent(repo, COMMIT)
    attempt(target)
    sh(repo, "git", "worktree", "remove", str(worktree(target)))
    sweeping.sweep(target.store, target._now() + 8 * DAY, 7 * DAY)
    assert branches(repo) == ["dolt-watch/bd-1/1", "main"]
    assert not target.store.folder(target.token).exists(), "its log goes after its time"


@pytest.mark.parametrize("script", [COMMIT, "exit 0"])
def test_a_branch_that_is_checked_out_elsewhere_is_kept(repo: Path, script: str) -> None:
    target = agent(repo, "touch wait; " + script)
    attempt(target)
    sh(worktree(target), "git", "clean", "-fdq")
    sh(repo, "git", "merge", "-q", "dolt-watch/bd-1/1")
    sh(repo, "git", "worktree", "move", str(worktree(target)), str(repo.parent / "moved"))
    sweeping.sweep(target.store, target._now() + 8 * DAY, 7 * DAY)
    assert sh(repo.parent / "moved", "git", "status", "--porcelain") == ""
    assert "dolt-watch/bd-1/1" in branches(repo)


def test_a_start_that_fails_forgets_no_worktree_of_the_user(repo: Path) -> None:
    own, unmounted = repo.parent / "own", repo.parent / "unmounted"
    sh(repo, "git", "worktree", "add", "-q", "-b", "own", str(own))
    own.rename(unmounted)
    target = agent(repo, "", argv=(str(repo / "missing"),))
    assert isinstance(target.dispatch(make_task(), target.token), Refused)
    assert not worktree(target).exists() and branches(repo) == ["main", "own"]
    unmounted.rename(own)
    assert sh(own, "git", "status", "--porcelain") == ""
    assert len(sh(repo, "git", "worktree", "list").splitlines()) == 2


@pytest.mark.parametrize("state", ["locked", "gone", "unknown to git"])
def test_a_worktree_that_was_half_made_is_discarded(repo: Path, state: str) -> None:
    folder, commit = repo.parent / "half", worktrees.resolve(repo, "HEAD")
    worktrees.add(repo, folder, "half", commit, 30.0)
    if state == "locked":
        sh(repo, "git", "worktree", "lock", str(folder))
    elif state == "gone":
        folder.rename(repo.parent / "elsewhere")
    else:
        (folder / ".git").unlink()
    worktrees.discard(repo, folder, "half", commit)
    assert not folder.exists() and branches(repo) == ["main"]
    assert len(sh(repo, "git", "worktree", "list").splitlines()) == 1


def test_not_while_a_process_works_in_it(repo: Path) -> None:
    target = agent(repo, "exit 1")
    start(target, target.token)
    until(lambda: target.store.read(target.token).state == "ended")  # type: ignore[union-attr]
    process = subprocess.Popen(["sleep", "300"], cwd=worktree(target))
    try:
        sweeping.sweep(target.store, target._now() + 8 * DAY, 7 * DAY)
        assert worktree(target).exists()
        ((problem, _),) = sweeping.leftovers(target.store, target._now() + 8 * DAY, 7 * DAY)
        assert problem.endswith(f" is kept: processes work in it: {process.pid}")
    finally:
        process.kill()
        process.wait()
    sweeping.sweep(target.store, target._now() + 8 * DAY, 7 * DAY)
    assert not worktree(target).exists()


def test_never_the_one_that_dolt_watch_runs_in(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = agent(repo, "exit 1")
    start(target, target.token)
    until(lambda: target.store.read(target.token).state == "ended")  # type: ignore[union-attr]
    monkeypatch.chdir(worktree(target))
    assert (
        worktrees.kept_because(repo, worktree(target), "dolt-watch/bd-1/1")
        == "dolt_watch runs in it"
    )
    assert target.verdict(target.token, None).failed
    assert worktree(target).exists()


def test_not_while_its_run_lives(repo: Path) -> None:
    target = agent(repo, "cd /; exec sleep 300")
    start(target, target.token)
    sweeping.sweep(target.store, target._now() + 8 * DAY, 7 * DAY)
    assert worktree(target).exists()
    target.stop(target.token, "me", "enough")
    assert not worktree(target).exists()


def test_a_hook_of_git_lends_no_repository(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(repo / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere")
    attempt(agent(repo, COMMIT))
    monkeypatch.undo()
    assert branches(repo) == ["dolt-watch/bd-1/1", "main"]


def test_a_bare_repository(repo: Path, tmp_path: Path) -> None:
    sh(tmp_path, "git", "clone", "-q", "--bare", str(repo), "bare.git")
    target = agent(tmp_path / "bare.git", COMMIT)
    assert not target.capacity().down
    attempt(target)
    assert sh(
        tmp_path / "bare.git", "git", "log", "--format=%s", "dolt-watch/bd-1/1"
    ).splitlines() == ["work", "one"]


# -- submodules --------------------

UPDATE = "git -c protocol.file.allow=always submodule --quiet update --init && "
"""Command that clones the submodules of a worktree. The clones then belong to the worktree."""
IN_LIBRARY = f"cd library && {COMMIT} && cd .. && "


@pytest.fixture
def outer(repo: Path) -> Path:
    """Return a repository that contains `repo` as a submodule."""
    folder = repo.parent / "outer"
    sh(repo.parent, "git", "init", "-q", "-b", "main", str(folder))
    add = ("submodule", "--quiet", "add", str(repo), "library")
    sh(folder, "git", "-c", "protocol.file.allow=always", *add)
    sh(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one")
    return folder


def test_a_worktree_with_submodules_goes_if_nothing_is_lost(outer: Path) -> None:
    target = agent(outer, UPDATE + "ls library/.git")
    attempt(target)
    assert output(target) == "library/.git\n"
    assert not worktree(target).exists() and branches(outer) == ["main"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (UPDATE + "touch library/file", "it has uncommitted changes"),
        (UPDATE + IN_LIBRARY + "true", "it has uncommitted changes"),
        (
            UPDATE + IN_LIBRARY + "git -c user.name=a -c user.email=a@b commit -qam 2",
            "1 commits of its submodules are on no remote branch",
        ),
        (
            UPDATE + "cd library && git checkout -qb side && " + COMMIT + "; git checkout -q -",
            "1 commits of its submodules are on no remote branch",
        ),
    ],
)
def test_work_in_a_submodule_is_never_removed(outer: Path, script: str, why: str) -> None:
    target = agent(outer, script)
    attempt(target)
    made = [name for name in branches(outer) if name != "main"]
    sh(outer, "git", "merge", "-q", *made)
    sweeping.sweep(target.store, target._now() + 8 * DAY, 7 * DAY)
    assert worktree(target).exists()
    ((problem, _),) = sweeping.leftovers(target.store, target._now() + 8 * DAY, 7 * DAY)
    assert problem.endswith(f" is kept: {why}")


def test_a_submodule_is_a_repository(outer: Path) -> None:
    target = agent(outer / "library", "git rev-parse --abbrev-ref HEAD")
    attempt(target)
    assert output(target) == "dolt-watch/bd-1/1\n"
    assert not worktree(target).exists() and branches(outer / "library") == ["main"]


# -- worktrees that can't be created --------------------


def test_no_repository_and_no_base_are_down_before_a_claim(repo: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for settings, why in (
        ({"repo": plain}, "not a git repository"),
        ({"repo": tmp_path / "none"}, "No such file or directory"),
        ({"repo": repo, "base": "nope"}, "'nope' names no commit"),
        ({"repo": repo, "base": "--all"}, "'--all' names no commit"),
    ):
        target = local(tmp_path, "echo x > ran", directory=None, **settings)
        capacity = target.capacity()
        assert capacity.down and capacity.slots == 0 and why in capacity.why
        answer = target.dispatch(make_task(), target.token)
        assert isinstance(answer, Refused) and why in answer.why
        assert not target.store.folder(target.token).exists(), "nothing half started"


def test_a_worktree_that_cannot_be_made_is_refused_and_leaves_nothing(repo: Path) -> None:
    sh(repo, "git", "branch", "dolt-watch")  # a branch of this name prevents branches below it
    target = agent(repo, "echo x > ran")
    answer = target.dispatch(make_task(), target.token)
    assert isinstance(answer, Refused) and answer.why.startswith("worktree: ")
    assert target.verdict(target.token, None).started is False
    assert not worktree(target).exists() and branches(repo) == ["dolt-watch", "main"]
    assert len(sh(repo, "git", "worktree", "list").splitlines()) == 1
    assert target.capacity().slots == 2


def test_worktrees_that_fail_for_several_beads_count_against_none(repo: Path) -> None:
    hook = repo / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\necho error: no >&2\nexit 1\n", "utf-8")
    hook.chmod(0o755)
    target = agent(repo, "echo x > ran")
    for number, away in enumerate(("", "", "target")):
        answer = target.dispatch(make_task(f"bd-{number}"), f"{target.token}{number}")
        assert isinstance(answer, Refused) and answer.why.startswith("worktree: ")
        assert answer.unreachable == away
    assert target.capacity().down


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ("", "git status ended with 128"),
        ("fatal: not a git repository\n", "not a git repository"),
        ("Preparing worktree\nfatal: invalid reference: x\n\n", "invalid reference: x"),
        ("warning: a\nerror: b\nhint: c", "b"),
        ("something else\nlast", "last"),
        (
            "fatal: detected dubious ownership in repository at '/r'\nTo add an exception for this"
            " directory, call:\n\n\tgit config --global --add safe.directory /r\n",
            "detected dubious ownership in repository at '/r';"
            " run `git config --global --add safe.directory /r`",
        ),
    ],
)
def test_the_reason_of_git(tmp_path: Path, errors: str, reason: str) -> None:
    (tmp_path / "errors").write_text(errors, "utf-8")
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/errors >&2\nexit 128\n", "utf-8")
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        with pytest.raises(GitFailed) as found:
            git(tmp_path, "status")
    assert str(found.value) == reason


def test_a_checkout_that_takes_too_long_is_refused(repo: Path) -> None:
    hook = repo / ".git/hooks/post-checkout"
    hook.write_text("#!/bin/sh\nexec sleep 300\n", "utf-8")
    hook.chmod(0o755)
    target = agent(repo, "echo x > ran", timeout=timedelta(seconds=1))
    answer = target.dispatch(make_task(), target.token)
    assert isinstance(answer, Refused) and "didn't end within" in answer.why
    hook.unlink()
    assert not worktree(target).exists() and branches(repo) == ["main"]


def test_no_git_is_an_error_with_its_name(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(GitFailed, match="git can't be run"):
        worktrees.top_level(repo)


def test_runs_of_one_repository_share_it(repo: Path) -> None:
    targets = [agent(repo, COMMIT, slots=4) for _ in range(4)]
    for number, target in enumerate(targets):
        start(target, target.token, f"bd-{number}")
    for target in targets:
        ended(target, target.token)
    assert len(branches(repo)) == 5
    assert run(agent(repo, "exit 0")).status_text == "completed"


@pytest.mark.parametrize("ask", ["live_tokens", "capacity"])
def test_a_worktree_without_work_goes_when_its_end_is_noticed(repo: Path, ask: str) -> None:
    """After an agent closes its bead, dolt_watch no longer requests the verdict of the run."""
    target = agent(repo, "exit 0")
    start(target, target.token)
    until(lambda: getattr(target, ask)() is not None and not worktree(target).exists())
    assert branches(repo) == ["main"]
