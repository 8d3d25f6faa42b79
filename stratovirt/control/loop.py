"""The event loop of the main thread: file descriptors and timers over epoll(7).

Callbacks run one after another and must not block. An exception that leaves a callback leaves run() too, so
that nothing fails unseen. A callback may be called once too often: a descriptor that was closed and opened
again within one round can get its predecessor's turn.
"""

from __future__ import annotations

from select import EPOLLIN, EPOLLOUT, epoll
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[[], None]

EVENTS_AT_ONCE = 16


class _Watch:
    """Who wants to know about one descriptor. Regular files are not pollable: they are always ready."""

    __slots__ = ("pollable", "reader", "writer")

    def __init__(self) -> None:
        self.reader: Callback | None = None
        self.writer: Callback | None = None
        self.pollable = True

    @property
    def interest(self) -> int:
        return (EPOLLIN if self.reader else 0) | (EPOLLOUT if self.writer else 0)


class Timer:
    """A call that is due at a time of the monotonic clock."""

    __slots__ = ("callback", "due")

    def __init__(self, due: float, callback: Callback) -> None:
        self.due = due
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Do not call."""
        self.callback = None


class Loop:
    """Calls whom a descriptor or a timer concerns."""

    def __init__(self) -> None:
        self._epoll = epoll()
        self._watches: dict[int, _Watch] = {}
        self._always_ready: set[int] = set()
        self._timers: list[Timer] = []
        self._stopped = False

    def close(self) -> None:
        """Forget everything; the descriptors stay open."""
        self._watches.clear()
        self._always_ready.clear()
        self._timers.clear()
        self._epoll.close()

    def add_reader(self, fd: int, callback: Callback) -> None:
        """Call back whenever fd can be read, or has hung up; replaces the reader it had."""
        watch, known = self._watch(fd)
        watch.reader = callback
        self._apply(fd, watch, known=known)

    def add_writer(self, fd: int, callback: Callback) -> None:
        """Call back whenever fd can be written, or has hung up; replaces the writer it had."""
        watch, known = self._watch(fd)
        watch.writer = callback
        self._apply(fd, watch, known=known)

    def remove_reader(self, fd: int) -> None:
        """Do not read fd; harmless when nobody does."""
        watch = self._watches.get(fd)
        if watch is not None:
            watch.reader = None
            self._apply(fd, watch, known=True)

    def remove_writer(self, fd: int) -> None:
        """Do not write fd; harmless when nobody does."""
        watch = self._watches.get(fd)
        if watch is not None:
            watch.writer = None
            self._apply(fd, watch, known=True)

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Call back once, after some time."""
        timer = Timer(monotonic() + seconds, callback)
        self._timers.append(timer)
        return timer

    def stop(self) -> None:
        """Let run() return when the present callback is done."""
        self._stopped = True

    def run(self) -> None:
        """Serve until stop(); can be run again afterwards."""
        self._stopped = False
        while not self._stopped:
            events = self._epoll.poll(self._timeout(), EVENTS_AT_ONCE)
            for fd, event in events:
                self._serve(fd, event)
            for fd in tuple(self._always_ready):
                self._serve(fd, EPOLLIN | EPOLLOUT)
            self._serve_timers()

    def _watch(self, fd: int) -> tuple[_Watch, bool]:
        watch = self._watches.get(fd)
        return (_Watch(), False) if watch is None else (watch, True)

    def _apply(self, fd: int, watch: _Watch, *, known: bool) -> None:
        """Tell epoll what the watch wants. Without interest it forgets: a hang-up would wake it for ever."""
        if not watch.interest:
            del self._watches[fd]
            self._always_ready.discard(fd)
            if watch.pollable:
                self._epoll.unregister(fd)
            return
        if not known:
            try:
                self._epoll.register(fd, watch.interest)
            except PermissionError:  # epoll_ctl(2): EPERM is a file that cannot be polled
                watch.pollable = False
                self._always_ready.add(fd)
            self._watches[fd] = watch
        elif watch.pollable:
            self._epoll.modify(fd, watch.interest)

    def _serve(self, fd: int, event: int) -> None:
        watch = self._watches.get(fd)
        if watch is None or self._stopped:
            return
        # An error or a hang-up concerns both: whoever tries next finds out what it is.
        if event & ~EPOLLOUT and watch.reader is not None:
            watch.reader()
        if event & ~EPOLLIN and watch.writer is not None and not self._stopped:
            watch.writer()

    def _timeout(self) -> float | None:
        self._timers = [timer for timer in self._timers if timer.callback is not None]
        if self._always_ready:
            return 0
        if not self._timers:
            return None
        return max(min(timer.due for timer in self._timers) - monotonic(), 0)

    def _serve_timers(self) -> None:
        if not self._timers:
            return
        now = monotonic()
        for timer in sorted(
            (timer for timer in self._timers if timer.due <= now), key=lambda timer: timer.due
        ):
            callback, timer.callback = timer.callback, None
            if callback is not None and not self._stopped:
                callback()
