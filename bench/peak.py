"""``python peak.py ARGUMENTS``:

``dolt_watch ARGUMENTS``, and the most memory that it held, in KB, as the last line of standard
error.

Not ``ru_maxrss``: what a process held before exec counts there, so that of the parent would too.
"""

import runpy
import sys
from pathlib import Path


def held(word: str, of: str = "self") -> int:
    """KB: 'VmRSS', what a process holds now; 'VmHWM', the most so far. Linux."""
    lines = Path(f"/proc/{of}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{word}:"))


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file: its modules are nobody's to import by bare names
    try:
        runpy.run_module("dolt_watch", run_name="__main__", alter_sys=True)
    finally:
        print(held("VmHWM"), file=sys.stderr)
