"""Lines about what a guest can cause, in the log or on standard error: not more than a few at a time."""

from __future__ import annotations

import os
from time import monotonic

from stratovirt import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.control.loop import Loop, Timer

STDERR = 2
AT_ONCE = 10
EACH_SECONDS = 10.0


class Notices:
    """Prints lines; too many are counted instead, and their number is told when the time is over."""

    def __init__(self, loop: Loop, each_seconds: float = EACH_SECONDS) -> None:
        self._loop = loop
        self._each_seconds = each_seconds
        self._since = monotonic()
        self._printed = 0
        self._dropped = 0
        self._severe = False  # one of the dropped was
        self._timer: Timer | None = None

    def tell(self, text: str, *, severe: bool = False) -> None:
        """Print one line, or count it; in the log it is an error or a warning."""
        if not _is_read(severe=severe):
            return
        now = monotonic()
        if now - self._since >= self._each_seconds:
            self._begin_anew()
        if self._printed == AT_ONCE:
            self._drop(now, severe=severe)
            return
        self._printed += 1
        _write(text, severe=severe)

    def close(self) -> None:
        """Tell what was left out so far: no more is to come."""
        self._begin_anew()

    def _drop(self, now: float, *, severe: bool) -> None:
        self._dropped += 1
        self._severe = self._severe or severe
        if self._timer is None:
            self._timer = self._loop.call_later(self._since + self._each_seconds - now, self._begin_anew)

    def _begin_anew(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dropped:
            _write(f"{self._dropped} more lines like this were left out", severe=self._severe)
        self._since = monotonic()
        self._printed, self._dropped, self._severe = 0, 0, False


def _is_read(*, severe: bool) -> bool:
    """Tell whether a line is written at all: what the log's level leaves out must not count."""
    return log.is_on("error" if severe else "warn") or not log.is_on("error")


def _write(text: str, *, severe: bool) -> None:
    if log.is_on("error"):
        (log.error if severe else log.warn)(text)
        return
    try:
        os.write(STDERR, f"stratovirt: {text}\n".encode(errors="replace"))
    except OSError:
        return  # nobody reads it
