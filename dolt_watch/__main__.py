"""``python -m dolt_watch``."""

from dolt_watch.cli import main

if __name__ == "__main__":
    main()
