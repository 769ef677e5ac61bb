"""The program ``bd``: parses its arguments and runs one command."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.standin.dialect import DIALECTS, NEWEST, VARIABLE
from tests.standin.tracker import Refused, Tracker, environment, find_folder


def main(arguments: list[str]) -> int:
    try:
        return run(arguments)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1


def run(arguments: list[str]) -> int:
    env = environment()
    name = arguments[0] if arguments else ""
    wanted = DIALECTS[env.get(VARIABLE) or NEWEST]
    if name == "version":
        print(f"bd version {wanted.name} (the tests' stand-in)")
        return 0
    if name == "init":
        from tests.standin.schema import init

        init(arguments[1:], env, Path.cwd())
        return 0
    from tests.standin.commands import COMMANDS, parse, prepare

    if name not in COMMANDS or (name == "heartbeat" and not wanted.leases):
        print(
            f'Error: unknown command "{name}" for "bd"\nRun \'bd --help\' for usage.',
            file=sys.stderr,
        )
        if name not in COMMANDS:
            print(
                "No recording of real bd holds this command: the tests' stand-in does not"
                " offer it.",
                file=sys.stderr,
            )
        return 1
    name, words, options = parse(arguments)
    folder = find_folder(env, Path.cwd())
    if folder is None:
        raise Refused("no beads database found: run 'bd init'")
    tracker = Tracker(folder, env)
    try:
        prepare(tracker, name)
        COMMANDS[name][0](tracker, words, options)
    finally:
        tracker.close()
    return 0
