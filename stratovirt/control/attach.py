"""The user's end of a virtio-console: `stratovirt console SOCKET`."""

from __future__ import annotations

import os
from _socket import AF_UNIX, SHUT_WR, SOCK_CLOEXEC, SOCK_STREAM, socket

from stratovirt.control import signals
from stratovirt.control.console import STDERR, STDIN, Console
from stratovirt.control.escape import CONSOLE
from stratovirt.control.loop import Loop
from stratovirt.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.control.window import Window

STDOUT = 1
CONNECT_S = 10.0  # a machine accepts at once, unless its queue of clients is full
READ_AT_ONCE = 64 << 10
WRITE_AT_ONCE = 1024  # what a pipe or a terminal takes without making us wait, when it is ready


def attach(path: str, qmp: str | None = None) -> None:
    """Connect standard input and output to a console's socket until either side ends.

    With `qmp`, the machine's QMP socket, the guest is told the size of a terminal's window, and each new one.
    """
    signals.install()
    try:
        window = _window(path, qmp) if qmp is not None and os.isatty(STDIN) else None
        connection = _connect(path)
        try:
            _Session(connection, window).run()
        finally:
            connection.close()
    except signals.Interrupted:
        return


def _window(path: str, qmp: str) -> Window:
    from stratovirt.control.window import Window

    return Window(STDIN, qmp, path, _complain)


def _complain(text: str) -> None:
    """Say something beside what the guest prints."""
    try:
        os.write(STDERR, f"\nstratovirt: {text}\n".encode())
    except OSError:
        return  # nobody has to read it


def _connect(path: str) -> socket:
    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        connection.settimeout(CONNECT_S)
        connection.connect(path)
        connection.setblocking(False)  # noqa: FBT003 - not ours to name
    except OSError as error:
        connection.close()
        hint = "is the machine running, and is this the path of one of its consoles?"
        raise HostError(f"connect to console socket {path}", error, hint) from error
    except BaseException:
        connection.close()
        raise
    return connection


class _Session:
    """A connection, the user's input and his output. What one side does not take, the other does not send."""

    def __init__(self, connection: socket, window: Window | None) -> None:
        self._socket = connection
        self._window = window
        self._is_served = False  # as far as we know: the machine serves one client after another
        self._loop = Loop()
        self._console = Console(self._loop, self._send, self._loop.stop, CONSOLE, self._end_input)
        self._unwritten = b""

    def run(self) -> None:
        """Serve until the end; the terminal is put back whatever that is."""
        more = () if self._window is None else (signals.WINDOW,)
        source = signals.SignalSource(self._loop, self._on_signal, more)
        try:
            self._tell_window()
            self._loop.add_reader(self._socket.fileno(), self._receive)
            self._console.start()
            self._loop.run()
        finally:
            self._console.close()
            source.close()
            self._loop.close()

    def _on_signal(self, number: int) -> None:
        if number in signals.ENDING:
            self._loop.stop()
        else:
            self._tell_window()  # it may have changed while we were stopped
            if number != signals.WINDOW:
                self._console.check_terminal()

    def _tell_window(self) -> None:
        if self._window is not None:
            self._window.changed()

    def _send(self, data: bytes) -> int:
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return len(data)  # nobody is there: _receive() learns it too
        if sent < len(data):
            self._loop.add_writer(self._socket.fileno(), self._on_room)
        return sent

    def _on_room(self) -> None:
        self._loop.remove_writer(self._socket.fileno())
        self._console.go_on()

    def _end_input(self) -> None:
        try:
            self._socket.shutdown(SHUT_WR)
        except OSError:
            return  # it has ended already

    def _receive(self) -> None:
        try:
            self._unwritten = self._socket.recv(READ_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            self._unwritten = b""
        if not self._unwritten:
            if os.isatty(STDIN):
                _complain("the machine has closed the console")
            self._loop.stop()
            return
        if not self._is_served:
            # Until now another client may have been, with a window of its own.
            self._is_served = True
            self._tell_window()
        self._loop.remove_reader(self._socket.fileno())
        self._loop.add_writer(STDOUT, self._write)

    def _write(self) -> None:
        try:
            written = os.write(STDOUT, self._unwritten[:WRITE_AT_ONCE])
        except BlockingIOError:
            return
        except OSError:
            self._loop.stop()  # nobody reads it any more
            return
        self._unwritten = self._unwritten[written:]
        if not self._unwritten:
            self._loop.remove_writer(STDOUT)
            self._loop.add_reader(self._socket.fileno(), self._receive)
