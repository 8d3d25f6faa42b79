"""A client for one command: `stratovirt qmp SOCKET COMMAND [JSON]`."""

from __future__ import annotations

from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket
from time import monotonic

from stratovirt.control.qmp import json_text
from stratovirt.errors import HostError, QmpError, StratovirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READ_AT_ONCE = 64 << 10
LONGEST_REPLY = 16 << 20  # bytes


def call(
    socket_path: str, command: str, arguments: dict[str, object] | None = None, timeout: float = 30
) -> object:
    """Connect, execute a command and return what it returns; QmpError when the machine refuses it.

    `timeout` is in seconds and for everything together. Works with QEMU as well.
    """
    connection = _Connection(socket_path, monotonic() + timeout)
    try:
        connection.receive("QMP", hint="other clients may hold all its places; QEMU has one")
        connection.execute("qmp_capabilities", {})
        return connection.execute(command, arguments or {})
    finally:
        connection.close()


class _Connection:
    """A connected socket and what came from it."""

    def __init__(self, path: str, deadline: float) -> None:
        self._path = path
        self._deadline = deadline
        self._received = bytearray()
        self._socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        try:
            self._limit_time()
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            hint = "is the machine running, and is this its socket?"
            raise HostError(f"connect to QMP socket {path}", error, hint) from error

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def execute(self, command: str, arguments: dict[str, object]) -> object:
        """Send a command and return what it returns."""
        request: dict[str, object] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        try:
            self._limit_time()
            self._socket.sendall(json_text.line(request))
        except OSError as error:
            raise HostError(f"send to QMP socket {self._path}", error) from error
        reply = self.receive("return", "error")
        if "error" in reply:
            raise QmpError(str(reply["error"].get("desc", "")), str(reply["error"].get("class", "")))
        return reply["return"]

    def receive(self, *kinds: str, hint: str = "") -> dict[str, Any]:
        """Return the next message with one of the members; skip others, events among them."""
        while True:
            message = self._parsed(self._line(hint))
            if any(kind in message for kind in kinds):
                return message

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            message = json_text.parse(line)
        except ValueError as error:
            raise StratovirtError(
                f"{self._path} does not speak QMP: {error}", "name the socket of -qmp"
            ) from None
        if not isinstance(message, dict):
            raise StratovirtError(f"{self._path} does not speak QMP", "name the socket of -qmp")
        return message

    def _line(self, hint: str) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            try:
                self._limit_time()
                data = self._socket.recv(READ_AT_ONCE)
            except TimeoutError:
                raise StratovirtError(f"no answer from QMP socket {self._path} in time", hint) from None
            except OSError as error:
                raise HostError(f"read from QMP socket {self._path}", error) from error
            if not data:
                raise StratovirtError(
                    f"QMP socket {self._path} was closed before it answered", "the machine ended"
                )
            self._received += data
            if len(self._received) > LONGEST_REPLY:
                raise StratovirtError(f"{self._path} does not speak QMP", "name the socket of -qmp")
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    def _limit_time(self) -> None:
        self._socket.settimeout(max(self._deadline - monotonic(), 0.001))
