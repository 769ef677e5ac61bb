"""``python -m dolt_watch``, and the console script."""

from __future__ import annotations

import gc

GARBAGE_THRESHOLD = 20_000
"""New objects after which Python looks for garbage, instead of 700. Nearly all objects of a command
are modules and beads, which stay. Looking at them took a tenth of an idle tick.
"""


def main() -> None:
    """Run the command line."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    # Late: the threshold applies to the imports.
    from dolt_watch.cli import main as run

    run()


if __name__ == "__main__":
    main()
