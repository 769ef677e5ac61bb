"""Fail unless a JUnit report says that tests ran.

``--no-skips`` also fails when one was skipped; ``--but REASON`` lets those pass whose reason
contains REASON.
"""

from __future__ import annotations

import argparse
import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("--no-skips", action="store_true")
    parser.add_argument("--but", action="append", default=[], metavar="REASON")
    given = parser.parse_args()
    if not given.report.is_file():
        return _fail(f"{given.report} was not written: no test ran")
    total = 0
    skipped: list[tuple[str, str]] = []
    for case in ET.parse(given.report).iter("testcase"):
        total += 1
        reason = case.find("skipped")
        if reason is not None:
            skipped.append(
                (f"{case.get('classname')}::{case.get('name')}", reason.get("message") or "")
            )
    if len(skipped) == total:
        return _fail(f"{given.report}: no test ran ({total} collected, {len(skipped)} skipped)")
    if given.no_skips:
        refused = [
            (name, why) for name, why in skipped if not any(text in why for text in given.but)
        ]
        if refused:
            return _fail(
                "\n".join(
                    [
                        "skipped where nothing may be:",
                        *(f"  {name}: {why}" for name, why in refused),
                    ]
                )
            )
    sys.stdout.write(f"{total - len(skipped)} tests ran, {len(skipped)} skipped\n")
    return 0


def _fail(why: str) -> int:
    sys.stderr.write(f"{why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
