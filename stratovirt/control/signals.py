"""Signals: those that end the process unwind its start-up; later the loop is told, also about others.

A signal that the parent asked to ignore (nohup's SIGHUP) stays ignored.
"""

from __future__ import annotations

import posix
import sys

from stratovirt.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable

    from stratovirt.control.loop import Loop
else:
    import _signal  # without the enums of `signal`, whose import costs more than this room

ENDING = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGQUIT)
HANGUP = _signal.SIGHUP
WINDOW = _signal.SIGWINCH
TERMINATION = _signal.SIGTERM


class Interrupted(BaseException):
    """A signal asked the process to end while it was starting."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by signal {number}")
        self.number = number


_arrived: list[int] = []
_unwinds = [True]  # emptied by the first signal, or when the loop takes over


def install() -> None:
    """Let ending signals raise Interrupted; make sure that descriptors 0 to 2 are something."""
    _fill_standard_descriptors()
    sys.unraisablehook = _on_unraisable
    try:
        _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
        for number in ENDING:
            if number != _signal.SIGHUP or _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, _on_signal)
    except OSError as error:
        raise HostError("handle signals", error, "does a filter of the host forbid it?") from error


def hold() -> None:
    """Let signals wait, until release(): what is made meanwhile would have no owner yet."""
    _unwinds.clear()


def release() -> None:
    """Let signals unwind again, one that came meanwhile at once."""
    _unwinds.append(True)
    check()


def check() -> None:
    """Raise Interrupted for a signal that came where Python swallows exceptions, or that waited."""
    if _arrived:
        _unwinds.clear()
        raise Interrupted(_arrived[0])


def _on_unraisable(report: sys.UnraisableHookArgs) -> None:
    """Say nothing of an Interrupted that came inside a callback of Python's own: check() and the loop do."""
    if not isinstance(report.exc_value, Interrupted):
        sys.__unraisablehook__(report)


def _fill_standard_descriptors() -> None:
    """Give a descriptor that was closed at start to /dev/null: a disk must not become standard output."""
    try:
        fd = posix.open("/dev/null", posix.O_RDWR)
    except OSError as error:
        raise HostError("open /dev/null", error, hint="a machine needs one in its root folder") from error
    while fd <= 2:
        fd = posix.dup(fd)
    posix.close(fd)


def _on_signal(number: int, frame: object) -> None:
    _ = frame
    _arrived.append(number)
    if _unwinds:
        # Once only: a second signal must not cut the unwinding short.
        _unwinds.clear()
        raise Interrupted(number)


class SignalSource:
    """Tells the loop about signals; made when the loop takes over from the unwinding of install()."""

    def __init__(self, loop: Loop, callback: Callable[[int], None], more: tuple[int, ...] = ()) -> None:
        """Watch ending signals, SIGCONT and `more`."""
        self._loop = loop
        self._callback = callback
        try:
            self._read, self._write = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
            _signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        except OSError as error:
            raise HostError("watch signals", error, "raise the limit of open files (ulimit -n)") from error
        _unwinds.clear()
        for number in (_signal.SIGCONT, *more):
            _signal.signal(number, _on_signal)
        loop.add_reader(self._read, self._drain)
        if _arrived:  # before the pipe was there
            posix.write(self._write, b"\0")

    def close(self) -> None:
        """Leave the loop; signals that come now change nothing any more."""
        _signal.set_wakeup_fd(-1)
        self._loop.remove_reader(self._read)
        posix.close(self._read)
        posix.close(self._write)

    def _drain(self) -> None:
        try:
            posix.read(self._read, 512)
        except BlockingIOError:
            return
        numbers = _arrived.copy()
        del _arrived[: len(numbers)]
        for number in numbers:
            self._callback(number)
