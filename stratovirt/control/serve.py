"""Serves a started machine until it ends, and takes it down in order: machine, terminal, clients, socket."""

from __future__ import annotations

from errno import ENOSPC

from stratovirt import log
from stratovirt.control.loop import Loop
from stratovirt.control.notices import Notices
from stratovirt.control.qmp.events import BlockIoError, Shutdown
from stratovirt.control.signals import ENDING, HANGUP, Interrupted, SignalSource
from stratovirt.errors import Naming, StratovirtError, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.control.console import Console
    from stratovirt.control.listener import Listener
    from stratovirt.control.machine_protocol import MachineEvent, ServedMachine
    from stratovirt.control.qmp.events import Event
    from stratovirt.control.qmp.server import Server

SEVERE = ("io-error", "host-error", "balloon-waits")  # what the guest wanted did not happen
STEP = "serve the machine"
DRAIN_S = 1.0  # how long a client can take to read the last words


def serve(machine: ServedMachine, listener: Listener | None, started: Callable[[], None]) -> int:
    """Serve until the end; return the exit status, or raise what made the machine fail. Leaves nothing.

    `started` is called when everything stands, before the first client is answered.
    """
    with Naming(STEP):
        service = _Service(machine, listener)
    return service.run(started)


class _Service:
    """The machine, and everybody who wants something from it."""

    def __init__(self, machine: ServedMachine, listener: Listener | None) -> None:
        self._machine = machine
        self._listener = listener
        self._loop = Loop()
        self._notices = Notices(self._loop)
        self._signals: SignalSource | None = None
        self._console: Console | None = None
        self._server: Server | None = None
        self._last_event: Event | None = None
        self._failure: Exception | None = None

    def run(self, started: Callable[[], None]) -> int:
        """Serve until the end."""
        try:
            with Naming(STEP):
                self._start()
            self._enter_sandbox()
            started()
            if self._last_event is None:
                self._loop.run()
        except Interrupted:
            self._end(Shutdown(guest=False, reason="host-signal"))
        except Exception as error:  # noqa: BLE001 - whatever fails, the end is orderly; it is raised there
            self._fail(error)
        self._finish()
        return 0

    def _start(self) -> None:
        self._signals = SignalSource(self._loop, self._on_signal)
        self._loop.add_reader(self._machine.events_fd, self._on_machine)
        if self._listener is not None:
            from stratovirt.control.qmp.server import Server

            self._server = Server(self._loop, self._listener, self._machine, self._end)
        self._give_up_rights()
        if self._machine.document.serial is not None:
            from stratovirt.control.console import Console

            self._console = Console(self._loop, self._machine.feed_serial, self._leave)
            self._console.start()

    def _give_up_rights(self) -> None:
        """Give up all capabilities; before the console, whose guard is a program of its own."""
        from stratovirt.sandbox import confinement

        keeps = self._machine.document.process.keeps_capabilities()
        confinement.confine_control_thread(capabilities=keeps)
        log.debug(f"capabilities: {'as they were' if keeps else 'none'}")

    def _enter_sandbox(self) -> None:
        """Give up all system calls but those that serving takes, before the first answer."""
        from stratovirt.sandbox import confinement

        self._tell_last_words()
        seccomp = self._machine.document.process.seccomp
        if seccomp is False:
            return
        # Compiled modules that commands import: no code can be mapped from here on.
        import fcntl  # noqa: F401
        import mmap  # noqa: F401

        confinement.filter_control_thread(log_only=seccomp == "log")
        log.debug("the control thread is filtered; clients are served from here on")

    def _tell_last_words(self) -> None:
        """Say where the last words go, and what the local time is now."""
        from stratovirt.sandbox import confinement

        fd, json = log.target()
        confinement.tell_last_words(fd, json=json, utc_offset=log.utc_offset())

    def _end(self, event: Event) -> None:
        """Let the loop stop; the first reason counts."""
        if self._last_event is not None:
            return
        log.info(f"the machine ends: {event.message()['data']}")
        self._last_event = event
        self._loop.stop()
        if self._server is not None:
            self._server.stop_requests()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._end(Shutdown(guest=False, reason="host-error"))

    def _leave(self) -> None:
        self._end(Shutdown(guest=False, reason="host-ui"))

    def _on_signal(self, number: int) -> None:
        if number == HANGUP and log.has_file():
            self._reopen_log()
        elif number in ENDING:
            self._end(Shutdown(guest=False, reason="host-signal"))
        elif self._console is not None:
            self._console.check_terminal()

    def _reopen_log(self) -> None:
        try:
            log.reopen()
            self._tell_last_words()
        except StratovirtError as error:
            log.error(error.message)

    def _on_machine(self) -> None:
        for event in self._machine.take_events():
            self._on_event(event)

    def _on_event(self, event: MachineEvent) -> None:
        if event.kind == "shutdown":
            self._end(Shutdown(guest=True, reason="guest-shutdown"))
        elif event.kind == "vcpu-failed":
            if self._last_event is None:
                hint = "the machine was stopped; no other vCPU can go on without this one"
                self._fail(StratovirtError(event.text, hint))
        elif event.kind == "serial-room":
            if self._console is not None:
                self._console.go_on()
        elif event.kind == "driver":
            log.trace(event.text)
        elif event.kind == "balloon":
            if self._server is not None:
                self._server.balloon_changed()
        else:
            self._notices.tell(event.text, severe=event.kind in SEVERE)
            if event.kind == "io-error" and event.device and self._server is not None:
                self._server.emit(_block_io_error(event, self._server.name_in("drive", event.device)))

    def _finish(self) -> None:
        """Take everything down, each step whatever became of the others; raise what went wrong first."""
        for step in (
            self._close_machine,
            self._notices.close,
            self._close_console,
            self._tell_clients,
            self._close_socket,
            self._close_loop,
        ):
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the others still have to be done
                self._failure = self._failure or error
        if self._failure is not None:
            raise told(self._failure) from self._failure

    def _close_machine(self) -> None:
        self._loop.remove_reader(self._machine.events_fd)
        self._machine.close()

    def _close_console(self) -> None:
        if self._console is not None:
            self._console.close()

    def _tell_clients(self) -> None:
        server = self._server
        if server is None or self._last_event is None:
            return
        if self._failure is not None:
            self._last_event = Shutdown(guest=False, reason="host-error")
        server.emit(self._last_event)
        if not server.finish(self._loop.stop):
            self._loop.call_later(DRAIN_S, self._loop.stop)
            self._loop.run()

    def _close_socket(self) -> None:
        # In this order: a client that sees the end of its connection finds the path free.
        try:
            if self._listener is not None:
                self._listener.close()
        finally:
            if self._server is not None:
                self._server.close()

    def _close_loop(self) -> None:
        if self._signals is not None:
            self._signals.close()
        self._loop.close()


def _block_io_error(event: MachineEvent, name: str) -> BlockIoError:
    return BlockIoError(
        device=name,
        operation="read" if event.operation == "read" else "write",
        action="report",
        nospace=event.error == ENOSPC,
        reason=event.cause,
    )
