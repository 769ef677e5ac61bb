"""Main module of the stand-in. The script from ``launcher.py`` runs it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.standin.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
