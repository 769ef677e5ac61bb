"""How a command that sends ends on SIGTERM, SIGHUP or ^C: a request under way is awaited and
recorded.

The first signal lets the attempt under way finish, for ``GRACE`` seconds, and no other begins. A
second signal, or an answer that does not come, ends the process at once, as a crash would, which
is safe: the claim is in history and its token is never sent again. What is not recorded is named.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from dolt_watch.core.model import Decision, EntryKind
from dolt_watch.errors import OutcomeNotRecorded
from dolt_watch.sanitize import sanitize

GRACE = 9.0
"""Seconds. Less than the ten that Docker and this project's systemd unit leave before SIGKILL."""
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Shutdown:
    """Handles the signals while it is entered.

    Args:
        under_way: The attempt that is not recorded yet, or None.
        say: Called with the words of what is not recorded, from a thread of its own.
        stop: Set by the first signal, where the caller looks at it between attempts. None: a
            command that has nothing under way ends at once, with ``SystemExit``.
        codes: Exit codes after the grace period and after a second signal. None: 128 + signal.
        grace: Seconds to wait for an attempt under way.
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
        self.signal = 0
        """Number of the first signal that came, 0: none."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Shutdown:
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:  # nohup, or a shell's background job
                self._before[number] = before
                signal.signal(number, self._came)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def code(self) -> int:
        """Exit code of a command that a signal ended in good order; 0: none came."""
        return 128 + self.signal if self.signal else 0

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            self._end(number, second=True)
            return
        self.signal = number
        self.stop.set()
        attempt = self.under_way()
        if self.at_once and attempt is None:
            sys.exit(128 + number)
        if self.at_once and attempt is not None:
            _tell(
                f"waiting up to {self.grace:.0f} s for the answer about {attempt.bead}; again ends"
                " at once"
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

        # The main thread may be writing a line: only another thread can wait for its lock.
        threading.Thread(target=end, daemon=True).start()


def unrecorded(attempt: Decision) -> OutcomeNotRecorded:
    """Return the error that names an attempt which the ledger does not have yet."""
    where = f"attempt {attempt.attempt}, token {attempt.token}"
    if attempt.kind is EntryKind.CLAIM:
        return OutcomeNotRecorded(
            f"{attempt.bead}: ended before its target answered, so the outcome is not recorded",
            where=where,
            fix="wait: after the claim's deadline the outcome is unknown, and is settled as such",
        )
    job = f" (job {attempt.job})" if attempt.job else ""
    return OutcomeNotRecorded(
        f"{attempt.bead}: ended before {attempt.kind.value}{job} was recorded",
        where=where,
        fix=f"note it by hand: bd note {attempt.bead} '{attempt.kind.value}{job}'",
    )


def _tell(line: str) -> None:
    """Write a line to stderr in one call: the handler may have interrupted another write."""
    try:
        os.write(2, f"{sanitize(line, 500)}\n".encode())
    except OSError:
        return
