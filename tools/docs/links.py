"""Asks every address that the pages name.

For the public workflow only: it needs the network. ``python -m tools.docs.links``
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx

from tools.docs.site import pages

ADDRESS = re.compile(r"\]\((https?://[^)\s#]+)")
BROKEN = {400, 404, 410}
"""What a forge or a wall against robots says otherwise (403, 429, 5xx) tells nothing of the
link.
"""


def addresses() -> list[str]:
    return sorted({found for page in pages() for found in ADDRESS.findall(page.read_text("utf-8"))})


def wrong(address: str) -> str:
    """What is wrong with it, '' for nothing."""
    try:
        status = httpx.get(address, follow_redirects=True, timeout=30).status_code
    except httpx.HTTPError as error:
        return f"{address}: {type(error).__name__}: {error}"
    return f"{address}: {status}" if status in BROKEN else ""


def main() -> int:
    found = addresses()
    with ThreadPoolExecutor(8) as pool:
        bad = [said for said in pool.map(wrong, found) if said]
    sys.stdout.write(
        "".join(f"{said}\n" for said in bad) + f"{len(found)} addresses, {len(bad)} broken\n"
    )
    return 1 if bad or not found else 0


if __name__ == "__main__":
    sys.exit(main())
