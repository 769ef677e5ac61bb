"""Request every address that the pages name: ``python -m tools.docs.links``.

For the public workflow only, because it needs the network.
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx

from tools.docs.site import pages, text_of

ADDRESS = re.compile(r"\]\((https?://[^)\s#]+)")
BROKEN = {400, 404, 410}
"""Statuses of a broken link. Forges and bot protection answer 403, 429 and 5xx for good links."""


def addresses() -> list[str]:
    """Return the addresses of other hosts in all pages. Links to this repository are files."""
    return sorted({found for page in pages() for found in ADDRESS.findall(text_of(page))})


def wrong(address: str) -> str:
    """Return the error of an address, or '' if it answers."""
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
