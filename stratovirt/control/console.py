"""Standard input for a port of the guest: the serial one, or that of `stratovirt console`."""

from __future__ import annotations

import os

from stratovirt.control.escape import MACHINE, Escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.control.escape import Words
    from stratovirt.control.loop import Loop, Timer
    from stratovirt.control.terminal import Terminal

    Feed = Callable[[bytes], int]

STDIN = 0
STDERR = 2
READ_AT_ONCE = 4096
TYPED_AT_MOST = 64 << 10  # bytes that are kept for a guest that does not read
FOREGROUND_CHECK_S = 0.5  # a shell that gives us the terminal does not always say so


class Console:
    """Reads standard input, as fast as the guest takes it. The end of input is not the end of the machine.

    A terminal is read even when the guest takes nothing, or its user could not leave: what the guest does not
    take is kept up to a bound, and beyond that dropped.
    """

    def __init__(
        self,
        loop: Loop,
        feed: Feed,
        leave: Callable[[], None],
        words: Words = MACHINE,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        self._loop = loop
        self._give = feed  # returns how much was taken; go_on() follows when that was less
        self._leave = leave
        self._words = words
        self._at_end = at_end
        self._pending = bytearray()
        self._reads = False
        self._escape = Escape()
        self._timer: Timer | None = None
        self._terminal: Terminal | None = None

    def start(self) -> None:
        """Begin to read; a terminal becomes raw."""
        if not os.isatty(STDIN):
            self._listen()
            return
        from stratovirt.control.terminal import Terminal

        self._terminal = Terminal(STDIN)
        self._greet()
        self.check_terminal()

    def _greet(self) -> None:
        try:
            os.write(STDERR, self._words.notice.encode())
        except OSError:
            return  # nobody has to read it

    def close(self) -> None:
        """Read no more and put the terminal back."""
        self._ignore()
        if self._timer is not None:
            self._timer.cancel()
        if self._terminal is not None:
            self._terminal.restore()
            self._terminal = None

    def check_terminal(self) -> None:
        """See whether the terminal is ours now: at start, and after the process was stopped and goes on."""
        if self._terminal is None:
            return
        if self._terminal.is_ours:
            self._terminal.make_raw()
            self._listen()
        else:
            self._wait_for_terminal()

    def go_on(self) -> None:
        """The port has room again."""
        self._feed(b"")

    def _wait_for_terminal(self) -> None:
        self._ignore()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(FOREGROUND_CHECK_S, self.check_terminal)

    def _listen(self) -> None:
        if not self._reads:
            self._loop.add_reader(STDIN, self._read)
            self._reads = True

    def _ignore(self) -> None:
        if self._reads:
            self._loop.remove_reader(STDIN)
            self._reads = False

    def _read(self) -> None:
        try:
            data = os.read(STDIN, READ_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            # A folder, a line that hung up; or a terminal that is not ours at the moment.
            if self._terminal is not None and not self._terminal.is_ours:
                self._wait_for_terminal()
            else:
                self._ignore()
            return
        if not data:
            self._ignore()
            if self._at_end is not None:
                self._at_end()
            return
        self._feed(self._without_escapes(data) if self._terminal is not None else data)

    def _without_escapes(self, typed: bytes) -> bytes:
        data, letters = self._escape.filter(typed)
        if "h" in letters:
            os.write(STDERR, self._words.help.encode())
        if "x" in letters:
            self._leave()
        return data

    def _feed(self, data: bytes) -> None:
        waited = bool(self._pending)
        self._pending += data
        del self._pending[TYPED_AT_MOST:]
        if self._pending:
            taken = self._give(bytes(self._pending))
            del self._pending[:taken]
        if self._terminal is not None:
            return
        if self._pending:
            self._ignore()
        elif waited:
            self._listen()
