"""Shutdown of commands that send, on SIGTERM, SIGHUP or ^C.

After the first signal, no attempt begins, and the process waits up to ``GRACE`` seconds for the
answer to the request under way and records it. A second signal, or a missing answer, ends the
process immediately, like a crash. That is safe: the claim is in history, and its token is never
sent again. The attempt that isn't recorded is printed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from dolt_watch.core.model import Decision, EntryKind
from dolt_watch.errors import OutcomeNotRecorded
from dolt_watch.sanitize import sanitize

GRACE = 9.0
"""Seconds. Docker and this project's systemd unit send SIGKILL after ten."""
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Shutdown:
    """A context manager that handles the signals until its block ends.

    Args:
        under_way: Returns the attempt that isn't recorded yet, or None.
        say: Called in its own thread with a message that names the unrecorded attempt.
        stop: Set by the first signal, for callers that check it between attempts. If None, a
            command without an attempt under way ends immediately, with ``SystemExit``.
        codes: Exit codes after the grace period and after a second signal. If None, 128 + signal.
        grace: Seconds to wait for the attempt under way.
    """

    def __init__(
        self,
        under_way: Callable[[], Decision | None],
        say: Callable[[str], None],
        *,
        stop: threading.Event | None = None,
        codes: tuple[int, int] | None = None,
        grace: float = GRACE,
    ) -> None:
        self.under_way, self.say, self.grace = under_way, say, grace
        self.at_once = stop is None
        self.stop = stop or threading.Event()
        self.codes = codes
        self.code = 0
        """Exit code of a command that a signal ended in good order, or 0 without a signal."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Shutdown:
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:  # Ignored by nohup and for background jobs of shells.
                self._before[number] = before
                signal.signal(number, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self.code:
            self._end(number, second=True)
            return
        self.code = 128 + number
        self.stop.set()
        attempt = self.under_way()
        if self.at_once and attempt is None:
            sys.exit(128 + number)
        if self.at_once and attempt is not None:
            _tell(
                f"waiting up to {self.grace:.0f} s for the answer about {attempt.bead}; a second"
                " signal ends immediately"
            )
        timer = threading.Timer(self.grace, self._end, (number,))
        timer.daemon = True
        timer.start()

    def _end(self, number: int, second: bool = False) -> None:
        code = 128 + number if self.codes is None else self.codes[second]
        attempt = self.under_way()

        def end() -> None:
            try:
                if attempt is not None:
                    self.say(f"error: {unrecorded(attempt)}")
            finally:
                os._exit(code)

        # The main thread may be printing a line. Only another thread can wait for its lock.
        threading.Thread(target=end, daemon=True).start()


def unrecorded(attempt: Decision) -> OutcomeNotRecorded:
    """Return the error that names an attempt that the ledger doesn't contain yet."""
    where = f"attempt {attempt.attempt}, token {attempt.token}"
    if attempt.kind is EntryKind.CLAIM:
        return OutcomeNotRecorded(
            f"{attempt.bead}: ended before the target answered. The outcome is not recorded.",
            where=where,
            fix="Wait. After the claim's deadline, a tick records the outcome as unknown.",
        )
    job = f" (job {attempt.job})" if attempt.job else ""
    return OutcomeNotRecorded(
        f"{attempt.bead}: ended before {attempt.kind.value}{job} was recorded.",
        where=where,
        fix=f"Add the note manually: `bd note {attempt.bead} '{attempt.kind.value}{job}'`.",
    )


def _tell(line: str) -> None:
    """Write a line to stderr in one call: the signal may have interrupted another write."""
    try:
        os.write(2, f"{sanitize(line, 500)}\n".encode())
    except OSError:
        return
