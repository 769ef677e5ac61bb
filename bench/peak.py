"""``python peak.py ARGUMENTS`` runs ``dolt_watch ARGUMENTS`` and measures its maximum memory.

The last line of standard error is the maximum in KB. ``ru_maxrss`` isn't suitable, because it
includes the memory of the parent before exec.
"""

import runpy
import sys
from pathlib import Path


def held(word: str, of: str = "self") -> int:
    """Return a memory size in KB: 'VmRSS' is the current one, 'VmHWM' the maximum. Linux only."""
    lines = Path(f"/proc/{of}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{word}:"))


if __name__ == "__main__":
    # Modules in the folder of this file must not be importable by bare names.
    sys.path.pop(0)
    try:
        runpy.run_module("dolt_watch", run_name="__main__", alter_sys=True)
    finally:
        print(held("VmHWM"), file=sys.stderr)
