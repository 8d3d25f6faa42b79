"""The QMP socket's place in the file system, taken before the machine is made: clients can wait there."""

from __future__ import annotations

from stratovirt.core.sockets import UnixListener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket


class Listener(UnixListener):
    """The QMP socket."""

    what = "QMP socket"

    def accept(self) -> socket | None:
        """Take the next waiting client; None when there is none."""
        from _socket import socket

        listening = socket(fileno=self.fd)
        try:
            fd, _ = listening._accept()  # type: ignore[attr-defined] # noqa: SLF001 - typeshed has it elsewhere
        except (BlockingIOError, ConnectionAbortedError):
            return None
        finally:
            listening.detach()
        client = socket(fileno=fd)
        client.setblocking(False)  # noqa: FBT003 - not ours to name
        return client
