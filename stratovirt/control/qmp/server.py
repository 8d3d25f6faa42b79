"""Serves the clients of the QMP socket, a few side by side; the others wait in the socket's queue.

Side by side, because a machine's owner and whoever looks into it are two, and because one that says nothing,
or reads nothing, must not keep the next one waiting. Each has a greeting, descriptors and a rate of its own;
events go to all. When all places are taken, one that has stopped reading loses its own to who comes next.
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

CLIENTS_AT_MOST = 4  # each may cost some 3 MiB (session.UNSENT_AT_MOST, framing.LONGEST_MESSAGE)
RETRY_S = 0.1  # when the process has no descriptor left for a client


class Server:
    """Who is connected, and the door for the next."""

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
        self._sessions: list[Session] = []
        self._stall_s = stall_s
        self._open = True
        self._keep_door()

    def emit(self, event: Event) -> None:
        """Tell every connected client."""
        for session in tuple(self._sessions):
            session.emit(event)

    def name_in(self, table: str, slot: str) -> str:
        """Return what clients call the device in a slot."""
        return self._target.name_in(table, slot)

    def balloon_changed(self) -> None:
        """The guest changed its balloon: clients will be told."""
        self._balloon.changed()

    def stop_requests(self) -> None:
        """Execute nothing more and let nobody in; what is being answered gets its answer."""
        self._open = False
        self._balloon.close()
        self._keep_door()
        for session in self._sessions:
            session.stop_requests()

    def finish(self, on_sent: Callable[[], None]) -> bool:
        """Tell whether every client has been sent everything; if not yet, call back when they have."""
        self.stop_requests()
        slow = 0

        def sent() -> None:
            nonlocal slow
            slow -= 1
            if not slow:
                on_sent()

        for session in self._sessions:
            slow += not session.finish(sent)
        return not slow

    def close(self) -> None:
        """Hang up."""
        self._open = False
        for session in tuple(self._sessions):
            session.close()
        self._target.shelf.close()
        self._target.descriptors.close()

    def _keep_door(self) -> None:
        """Let somebody in while there is a place, or one to be had from a client that does not read."""
        if self._open and (self._has_place() or any(session.is_stalled for session in self._sessions)):
            self._loop.add_reader(self._listener.fd, self._accept)
        else:
            self._loop.remove_reader(self._listener.fd)

    def _has_place(self) -> bool:
        return len(self._sessions) < CLIENTS_AT_MOST

    def _accept(self) -> None:
        if not self._has_place():
            self._make_place()
            return
        try:
            client = self._listener.accept()
        except OSError:
            self._loop.remove_reader(self._listener.fd)
            self._loop.call_later(RETRY_S, self._keep_door)
            return
        if client is None:
            return
        session = Session(
            self._loop, client, self._target.for_client(), self._forget, self._keep_door, self._stall_s
        )
        self._sessions.append(session)
        log.debug("QMP: a client has come")
        self._keep_door()
        session.start()

    def _make_place(self) -> None:
        """Have a client that does not read give its place; who waits is let in at the next turn."""
        for session in self._sessions:
            if session.is_stalled:
                log.warn("QMP: a client that reads nothing was disconnected, for another one waits")
                session.close()
                return
        self._keep_door()

    def _forget(self) -> None:
        log.debug("QMP: a client has gone")
        self._sessions = [session for session in self._sessions if not session.is_closed]
        self._keep_door()
