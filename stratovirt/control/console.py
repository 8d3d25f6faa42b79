"""The serial port's input on stdio: a raw terminal that is always put back, or a pipe, a file, nothing."""

from __future__ import annotations

import os
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.control.loop import Loop

STDIN, STDERR = 0, 2
ESCAPE = 0x01  # Ctrl-A
HELP = b"Ctrl-A x ends the machine, Ctrl-A Ctrl-A sends Ctrl-A, Ctrl-A h shows this\r\n"
CHUNK = 1024
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CC = 0, 1, 2, 3, 6


class Terminal:
    """Raw mode of a terminal: keys go to the guest as they are, output is still post-processed."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._saved = termios.tcgetattr(fd)
        self.enter()

    def enter(self) -> None:
        """Set raw mode; again after the process was stopped and continued."""
        mode = [*self._saved[:_CC], list(self._saved[_CC])]
        mode[_IFLAG] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
            | termios.ICRNL | termios.IXON
        )  # fmt: skip
        mode[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        mode[_CC][termios.VMIN] = 1
        mode[_CC][termios.VTIME] = 0
        termios.tcsetattr(self.fd, termios.TCSANOW, mode)

    def restore(self) -> None:
        """Put the terminal back; one that has gone away needs nothing."""
        try:
            termios.tcsetattr(self.fd, termios.TCSANOW, self._saved)
        except termios.error:
            return


class Console:
    """Moves standard input to the serial port, with back-pressure: what the port does not take waits in the kernel."""

    def __init__(self, loop: Loop, feed: Callable[[bytes], int], leave: Callable[[], None]) -> None:
        self._loop = loop
        self._feed = feed
        self._leave = leave
        self._waiting = b""
        self._escaped = False
        self._ended = False
        self._regular = False
        self.terminal: Terminal | None = None

    def open(self) -> None:
        """Start reading; a terminal becomes raw and says how to leave."""
        if os.isatty(STDIN):
            self.terminal = Terminal(STDIN)
            os.write(STDERR, HELP)
        self._listen()

    def close(self) -> None:
        """Put the terminal back."""
        if self.terminal is not None:
            self.terminal.restore()
            self.terminal = None

    def continued(self) -> None:
        """Set raw mode again: the shell has changed it while the process was stopped."""
        if self.terminal is not None:
            self.terminal.enter()

    def room(self) -> None:
        """The serial port takes bytes again."""
        if self._waiting:
            self._offer(b"")
        if not self._waiting and not self._ended:
            self._listen()

    def _listen(self) -> None:
        try:
            self._loop.add_reader(STDIN, self._readable)
        except PermissionError:
            # A regular file cannot be watched and need not be: it can always be read.
            self._loop.forget(STDIN)
            self._regular = True
            self._loop.call_later(0, self._readable)
        except OSError:
            self._loop.forget(STDIN)
            self._ended = True

    def _readable(self) -> None:
        try:
            data = os.read(STDIN, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._ended = True
            self._loop.remove_reader(STDIN)
            return
        self._offer(self._keys(data) if self.terminal is not None else data)
        if self._regular and not self._waiting:
            self._loop.call_later(0, self._readable)

    def _offer(self, data: bytes) -> None:
        self._waiting += data
        taken = self._feed(self._waiting)
        self._waiting = self._waiting[taken:]
        if self._waiting:
            self._loop.remove_reader(STDIN)

    def _keys(self, data: bytes) -> bytes:
        """Return what is for the guest; the escape key and its word are for us."""
        passed = bytearray()
        for key in data:
            if self._escaped:
                self._escaped = False
                self._command(key, passed)
            elif key == ESCAPE:
                self._escaped = True
            else:
                passed.append(key)
        return bytes(passed)

    def _command(self, key: int, passed: bytearray) -> None:
        if key in b"xX":
            self._leave()
        elif key in b"hH?":
            os.write(STDERR, HELP)
        else:
            passed.append(key)
