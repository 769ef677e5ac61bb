"""The steps of one dispatch, as ``python -m tools.walk`` prints them."""

from __future__ import annotations

from tools.walk import Hop, Walk, dispatch_one_bead


def test_what_is_counted() -> None:
    files = ["a.py", "a.py", "b.py", "a.py", "c.py", "b.py"]
    walk = Walk([Hop(file, f"f{number}") for number, file in enumerate(files)])
    assert (len(walk.hops), walk.files) == (6, ["a.py", "b.py", "c.py"])
    assert (walk.switches, walk.returns) == (4, 2)


def test_a_dispatch_is_walked_from_the_command_to_the_ledger() -> None:
    files = dispatch_one_bead().files
    assert files[0].startswith("cli/")
    assert {"checkpoint/poll.py", "controller/loop.py", "ledger/writer.py"} <= set(files)
    assert not [file for file in files if file.startswith(("engines/", "config/"))]
