"""One client: its greeting, its requests one after another, and what waits to be sent to it."""

from __future__ import annotations

from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET
from time import monotonic

from stratovirt import log
from stratovirt.control.qmp import json_text
from stratovirt.control.qmp.commands.queries import VERSION
from stratovirt.control.qmp.framing import Framer, FramingError
from stratovirt.control.qmp.registry import COMMANDS, execute, shortened
from stratovirt.control.qmp.throttle import REFUSAL, Bucket
from stratovirt.errors import QmpError, StratovirtError, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from stratovirt.control.loop import Loop, Timer
    from stratovirt.control.qmp.events import Event
    from stratovirt.control.qmp.registry import Target

    Message = dict[str, object]

GREETING: Message = {"QMP": {"version": VERSION, "capabilities": []}}
READ_AT_ONCE = 16 << 10  # bytes; bounds what one turn of the loop costs
UNSENT_AT_MOST = 2 << 20  # bytes; who leaves more unread is disconnected. The longest id, escaped, fits
NEGOTIATION_S = 1.0  # in which a client that has just come is left alone, until it asks for something
STALL_S = 30.0  # in which a client takes nothing of what waits for it: then others need not wait for it
NEGOTIATION = "qmp_capabilities"
INT_SIZE = 4
RIGHTS_SPACE = CMSG_SPACE(16 * INT_SIZE)  # the kernel closes what does not fit
DISCARDS = 16  # reads; a client that keeps sending must not keep us
_MEMBERS = ("execute", "arguments", "id")


class Session:
    """A connection. `target` is what its commands work on; `on_closed` is called once, when it is over.

    `on_stall` is called when the client has taken nothing of what waits for it for `stall_s` seconds. One
    that sends nothing more either is not waited for any longer.

    Events wait until it has agreed on capabilities or asked for anything else, as QEMU's do: client libraries
    take what follows the greeting for the answer. For one that says nothing they wait for NEGOTIATION_S.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket,
        target: Target,
        on_closed: Callable[[], None],
        on_stall: Callable[[], None] | None = None,
        stall_s: float = STALL_S,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._fd = sock.fileno()
        self._target = target
        self._on_closed = on_closed
        self._on_stall = on_stall
        self._stall_s = stall_s
        self._patience: Timer | None = None
        self.is_stalled = False
        self._on_sent: Callable[[], None] | None = None
        self._framer = Framer()
        self._bucket = Bucket()
        self._unsent = bytearray()
        self._held: list[Message] | None = []  # events, until the client is told of them
        self._silence: Timer | None = None
        self.is_closed = False
        self._hears = True  # until the client sends nothing more
        self._obeys = True  # until the process ends

    def start(self) -> None:
        """Greet, then listen."""
        self._loop.add_reader(self._fd, self._read)
        self._silence = self._loop.call_later(NEGOTIATION_S, self._tell_events)
        self._send(GREETING)

    def emit(self, event: Event) -> None:
        """Tell the client of an event, now or when it can take it."""
        if self._held is None:
            self._send(event.message())
        else:
            self._held.append(event.message())

    def _tell_events(self) -> None:
        """Tell the client of events from now on, and of those that waited."""
        held, self._held = self._held or [], None
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        for message in held:
            self._send(message)

    def stop_requests(self) -> None:
        """Do nothing of what the client still asks; what is being answered gets its answer."""
        self._obeys = False
        self._loop.remove_reader(self._fd)

    def finish(self, on_sent: Callable[[], None]) -> bool:
        """Tell whether everything is sent; if not yet, call back when it is, or when the client is gone."""
        self._tell_events()
        if self._unsent:
            self._on_sent = on_sent
        return not self._unsent

    def close(self) -> None:
        """Hang up; what was not sent is lost."""
        if self.is_closed:
            return
        self.is_closed = True
        self._calm()
        self._tell_events()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._discard_input()
        self._socket.close()
        self._target.descriptors.forget_received()
        self._on_closed()
        if self._on_sent is not None:
            self._on_sent()

    def _read(self) -> None:
        try:
            data = self._receive()
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self._hear_the_end()
            return
        for message in self._framer.feed(data):
            self._answer(message)
            if self.is_closed or not self._obeys:
                return

    def _receive(self) -> bytes:
        """Return bytes; descriptors that came with them wait for getfd."""
        data, rights, _flags, _from = self._socket.recvmsg(READ_AT_ONCE, RIGHTS_SPACE, MSG_CMSG_CLOEXEC)
        for level, kind, numbers in rights:
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                whole = len(numbers) // INT_SIZE * INT_SIZE
                self._target.descriptors.receive(list(memoryview(numbers[:whole]).cast("i")))
        return data

    def _hear_the_end(self) -> None:
        """The client sends nothing more, but may still read: it gets what it asked for."""
        self._hears = False
        self._loop.remove_reader(self._fd)
        missing = self._framer.end()
        if missing is not None:
            self._answer(missing)
        if self._unsent:
            self._expect_progress()
        else:
            self._all_is_sent()

    def _all_is_sent(self) -> None:
        if self._on_sent is not None:
            on_sent, self._on_sent = self._on_sent, None
            on_sent()
        elif not self._hears and self._obeys:
            self.close()

    def _answer(self, message: bytes | FramingError) -> None:
        if log.is_on("info"):
            log.info(
                f"QMP: --> {message.decode(errors='replace') if isinstance(message, bytes) else message}"
            )
        begin = monotonic()
        in_time = self._bucket.take(begin)
        request: Message = {}
        try:
            request = _parse(message)
            if request.get("execute") != NEGOTIATION:
                self._tell_events()
            reply: Message = {"return": self._execute(request)} if in_time else _REFUSAL.copy()
        except QmpError as error:
            reply = _error(error.kind, error.message) if in_time else _REFUSAL.copy()
        except Exception as error:  # noqa: BLE001 - neither the host's no nor our mistake costs the guest its life
            words = told(error)
            if not isinstance(error, (StratovirtError, OSError, ImportError, MemoryError)):
                log.error(f"QMP: {words.message}")
            reply = _error("GenericError", f"{words.message}; {words.hint}" if words.hint else words.message)
        if "id" in request:
            reply["id"] = request["id"]
        if log.is_on("debug"):
            log.debug(_outcome(request, reply, monotonic() - begin))
        self._send(reply)
        self._tell_events()

    def _execute(self, request: Message) -> object:
        for key in request:
            if key not in _MEMBERS:
                raise QmpError(f"a request has no member '{shortened(key)}'; it has {', '.join(_MEMBERS)}")
        name = request.get("execute")
        if not isinstance(name, str):
            raise QmpError("a request needs the member 'execute', which names a command")
        arguments = request.get("arguments", {})
        if not isinstance(arguments, dict):
            raise QmpError("the member 'arguments' has to be an object")
        return execute(name, self._target, arguments)

    def _send(self, message: Message) -> None:
        if self.is_closed:
            return
        waits = bool(self._unsent)
        line = json_text.line(message)
        if log.is_on("info"):
            log.info(f"QMP: <-- {line.decode().rstrip()}")
        self._unsent += line
        if not waits:
            self._write()
            self._expect_progress()
        if len(self._unsent) > UNSENT_AT_MOST:
            self.close()

    def _write(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        del self._unsent[:sent]
        if sent:
            self._expect_progress()
        if self._unsent:
            self._loop.add_writer(self._fd, self._write)
            return
        self._loop.remove_writer(self._fd)
        self._all_is_sent()

    def _expect_progress(self) -> None:
        """Give the client its time, from now on, to take something of what waits for it."""
        self._calm()
        if self._unsent and not self.is_closed:
            self._patience = self._loop.call_later(self._stall_s, self._stall)

    def _calm(self) -> None:
        self.is_stalled = False
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _stall(self) -> None:
        self._patience = None
        self.is_stalled = True
        if not self._hears:
            log.warn("QMP: a client that has half-closed and reads nothing was disconnected")
            self.close()
        elif self._on_stall is not None:
            self._on_stall()

    def _discard_input(self) -> None:
        """Take what nobody will read: left there it would turn the client's end of file into an error."""
        try:
            for _ in range(DISCARDS):
                if not self._socket.recv(READ_AT_ONCE):
                    return
        except OSError:
            return


def _outcome(request: Message, reply: Message, seconds: float) -> str:
    """Return what became of a request, without a word of the client's: none is safe but a command's name."""
    name = request.get("execute")
    known = name if isinstance(name, str) and name in COMMANDS else "what is no command"
    error = reply.get("error")
    result = str(error["class"]) if isinstance(error, dict) else "done"
    return f"QMP: {known}: {result}, after {seconds * 1e3:.1f} ms"


def _parse(message: bytes | FramingError) -> Message:
    if isinstance(message, FramingError):
        raise QmpError(f"invalid JSON: {message}")
    try:
        request = json_text.parse(message)
    except ValueError as error:
        raise QmpError(f"invalid JSON: {error}") from None
    assert isinstance(request, dict)  # the framer lets nothing else through
    return request


def _error(kind: str, desc: str) -> Message:
    return {"error": {"class": kind, "desc": desc}}


_REFUSAL = _error("OperationThrottled", REFUSAL)
