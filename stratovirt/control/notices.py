"""Lines about what a guest can cause, in the log or on standard error: not more than a few at a time."""

from __future__ import annotations

import os
from time import monotonic

from stratovirt import log

STDERR = 2
AT_ONCE = 10
EACH_SECONDS = 10.0


class Notices:
    """Prints lines; too many are counted instead."""

    def __init__(self) -> None:
        self._since = monotonic()
        self._printed = 0
        self._dropped = 0

    def tell(self, text: str, *, severe: bool = False) -> None:
        """Print one line, or count it; in the log it is an error or a warning."""
        now = monotonic()
        if now - self._since >= EACH_SECONDS:
            dropped, self._dropped, self._printed, self._since = self._dropped, 0, 0, now
            if dropped:
                _write(f"{dropped} more lines like this were left out", severe=severe)
        if self._printed == AT_ONCE:
            self._dropped += 1
            return
        self._printed += 1
        _write(text, severe=severe)


def _write(text: str, *, severe: bool) -> None:
    if log.is_on("error"):
        (log.error if severe else log.warn)(text)
        return
    try:
        os.write(STDERR, f"stratovirt: {text}\n".encode(errors="replace"))
    except OSError:
        return  # nobody reads it
