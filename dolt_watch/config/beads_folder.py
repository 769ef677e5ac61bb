"""Find the ``.beads`` folder that bd uses.

The order is that of bd's ``FindBeadsDir`` (bd 1.1 and later; source at commit fbcee6c62, June
2026): ``BEADS_DIR``, the folders from the current one up to the root of the git work tree, then
the main work tree of a git worktree. ``.beads/redirect`` is followed once, from any of them. bd
1.0.2 differs in one case: in a git worktree, it prefers the worktree's own tracked ``.beads`` even
if that contains no database.

No git process is started, because an idle tick must stay cheap. Only file names are checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dolt_watch.config.converters import exists, expand, read_text, unsearchable
from dolt_watch.errors import SettingsError

FOLDER = ".beads"
REDIRECT = "redirect"
ENV_FILE = ".env"


class Found(NamedTuple):
    """The result of the search."""

    folder: Path | None
    """The ``.beads`` folder in use, after a redirect, or None."""
    source: Path | None = None
    """The folder whose redirect was followed, or None. Its ``dolt_database`` wins, as in bd."""
    broken: Path | None = None
    """A redirect file that doesn't name a folder. bd ignores it with a warning."""


def find(env: Mapping[str, str], cwd: Path) -> Found:
    """Return the folder that bd uses in ``cwd``.

    Raises:
        SettingsError: ``BEADS_DIR`` doesn't name a folder, or a folder can't be read.
    """
    try:
        return _find(env, cwd)
    except OSError as error:
        raise unsearchable(Path(str(error.filename)), error) from None


def _find(env: Mapping[str, str], cwd: Path) -> Found:
    named = env.get("BEADS_DIR")
    if named:
        return _named(cwd / expand(named, "BEADS_DIR"))
    found = _walk(cwd.resolve())
    # .beads/.env may redirect bd to another folder. bd 1.0.2 ignores that.
    if found.folder is not None and (found.folder / ENV_FILE).is_file():
        from dolt_watch.config import dotenv  # Late: few trackers have this file.

        path = found.folder / ENV_FILE
        if (entry := dotenv.read(path).get("BEADS_DIR")) and entry.value.strip():
            place = f"{path}:{entry.line}"
            return _named(cwd / expand(entry.value.strip(), place), place)
    return found


def _named(folder: Path, line: str = "") -> Found:
    """Return the folder that BEADS_DIR names. ``line``: the place of a variable in a file."""
    if not folder.is_dir():
        named = f": {folder}" if line else ""
        raise SettingsError(
            f"BEADS_DIR is not a folder{named}.",
            where=line or str(folder),
            fix="Set BEADS_DIR to the path of .beads/.",
        )
    return follow(folder)


def follow(folder: Path) -> Found:
    """Return ``folder``, or the folder that its ``redirect`` file names.

    The path is the first line that isn't a comment. A relative path starts at the parent of
    ``folder``. A second redirect, in the target, is ignored, so a loop is impossible.

    Raises:
        SettingsError: The file can't be read.
    """
    file = folder / REDIRECT
    if not exists(file):
        return Found(folder)
    text = read_text(
        file,
        f"{FOLDER}/{REDIRECT}",
        unreadable=f"Make it a readable file: `chmod u+r {file}`.",
        not_utf8="Write the path of the other .beads/ to the file, in UTF-8.",
    )
    stripped = (line.strip() for line in text.splitlines())
    path = next((line for line in stripped if line and not line.startswith("#")), "")
    if not path:
        return Found(folder)
    try:
        target = (folder.resolve().parent / path).resolve()
        usable = target.is_dir()
    except (OSError, RuntimeError, ValueError):
        usable = False  # A loop of symbolic links, a NUL, or a name that is too long.
    if not usable:
        return Found(folder, broken=file)
    return Found(folder) if target == folder.resolve() else Found(target, source=folder)


def _walk(cwd: Path) -> Found:
    """Return the first folder in bd's order that belongs to a project."""
    ups = (cwd, *cwd.parents)
    root = next((up for up in ups if exists(up / ".git")), None)
    main = _main_beads(root) if root is not None else None
    broken: Path | None = None
    lacking: Path | None = None
    for folder in _candidates(ups, root, main):
        if not folder.is_dir():
            continue
        found = follow(folder)
        broken = broken or found.broken
        assert found.folder is not None
        if _is_project(found.folder):
            return found._replace(broken=broken)
        lacking = lacking or found.folder
    return Found(lacking, broken=broken)


def _candidates(ups: tuple[Path, ...], root: Path | None, main: Path | None) -> Iterator[Path]:
    """Yield the folders that bd checks, in its order."""
    for up in ups:
        own = up / FOLDER
        if up == root and main is not None:
            # `git worktree add` checks out a tracked .beads without its database, which git
            # ignores. bd then uses the database of the main work tree, if there is one.
            shared = follow(main).folder if main.is_dir() else None
            inherited = shared is not None and _has_database(shared)
            if exists(own / REDIRECT) or _has_database(own) or not inherited:
                yield own
            yield main
        yield own


def _main_beads(root: Path) -> Path | None:
    """Return ``.beads`` of the main work tree, or None if ``root`` is the main work tree."""
    git = root / ".git"
    if not git.is_file():
        return None
    try:
        word, _, path = git.read_text("utf-8").strip().partition(":")
        own = root / path.strip()
        # A submodule has a .git file too, but no "commondir".
        common = (own / (own / "commondir").read_text("utf-8").strip()).resolve()
    except (OSError, UnicodeDecodeError, ValueError):
        return None
    if word != "gitdir" or common == own.resolve():
        return None
    return (common.parent if common.name == ".git" else common) / FOLDER


def _is_project(folder: Path) -> bool:
    """Return whether bd uses the folder for a project, and not for settings of the user."""
    files = ("metadata.json", "config.yaml")
    return any(exists(folder / name) for name in files) or _has_database(folder)


def _has_database(folder: Path) -> bool:
    if (folder / "dolt").is_dir() or (folder / "embeddeddolt").is_dir():
        return True
    return any(".backup" not in path.name and path.name != "vc.db" for path in folder.glob("*.db"))
