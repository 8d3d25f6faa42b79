"""Serves the clients of the QMP socket, one at a time; the others wait in the socket's queue.

A client that has stopped reading keeps its place, as with QEMU, until another one wants it.
"""

from __future__ import annotations

from stratovirt import log
from stratovirt.control.qmp.commands.balloon import Announcer
from stratovirt.control.qmp.registry import Target
from stratovirt.control.qmp.session import STALL_S, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.control.listener import Listener
    from stratovirt.control.loop import Loop
    from stratovirt.control.machine_protocol import ServedMachine
    from stratovirt.control.qmp.events import Event

RETRY_S = 0.1  # when the process has no descriptor left for a client


class Server:
    """Whoever is connected, and the door for the next."""

    def __init__(
        self,
        loop: Loop,
        listener: Listener,
        machine: ServedMachine,
        end: Callable[[Event], None],
        stall_s: float = STALL_S,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._target = Target(machine, self.emit, end)
        self._balloon = Announcer(loop, self._target)
        self._session: Session | None = None
        self._stall_s = stall_s
        self._open = True
        self._wait_for_client()

    def emit(self, event: Event) -> None:
        """Tell the connected client, if there is one."""
        if self._session is not None:
            self._session.emit(event)

    def balloon_changed(self) -> None:
        """The guest changed its balloon: clients will be told."""
        self._balloon.changed()

    def stop_requests(self) -> None:
        """Execute nothing more and let nobody in; what is being answered gets its answer."""
        self._open = False
        self._balloon.close()
        self._loop.remove_reader(self._listener.fd)
        if self._session is not None:
            self._session.stop_requests()

    def finish(self, on_sent: Callable[[], None]) -> bool:
        """Tell whether the connected client has been sent everything; if not yet, call back when it has."""
        self.stop_requests()
        return self._session is None or self._session.finish(on_sent)

    def close(self) -> None:
        """Hang up."""
        self._open = False
        if self._session is not None:
            self._session.close()
        self._target.shelf.close()
        self._target.descriptors.close()

    def _wait_for_client(self) -> None:
        if self._session is not None:
            log.debug("QMP: the client has gone")
        self._session = None
        if self._open:
            self._loop.add_reader(self._listener.fd, self._accept)

    def _accept(self) -> None:
        try:
            client = self._listener.accept()
        except OSError:
            self._loop.remove_reader(self._listener.fd)
            self._loop.call_later(RETRY_S, self._wait_for_client)
            return
        if client is None:
            return
        self._loop.remove_reader(self._listener.fd)
        self._session = Session(
            self._loop, client, self._target, self._wait_for_client, self._wait_for_another, self._stall_s
        )
        log.debug("QMP: a client has come")
        self._session.start()

    def _wait_for_another(self) -> None:
        """The client does not read: the next one to come takes its place."""
        if self._open:
            self._loop.add_reader(self._listener.fd, self._replace)

    def _replace(self) -> None:
        self._loop.remove_reader(self._listener.fd)
        if self._session is not None and self._session.is_stalled:
            log.warn("QMP: a client that reads nothing was disconnected, for another one waits")
            self._session.close()
