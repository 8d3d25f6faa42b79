"""Starts the fake machine in a process, and talks to it as its user, its guest and its clients."""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

from stratovirt.control.qmp.server import CLIENTS_AT_MOST
from tests.unit.control.fake_machine import GO_ON

if TYPE_CHECKING:
    import signal
    from pathlib import Path
    from types import TracebackType
    from typing import Any

TIMEOUT_S = 20.0


def _take_terminal() -> None:
    """Make the terminal on standard input, if it is one, the one that controls the new session."""
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _document(qmp: Path | None, tables: dict[str, Any]) -> str:
    """Return the machine's document as JSON."""
    document: dict[str, object] = {"version": 1, "cpu": {"count": tables.pop("cpus", 1)}, **tables}
    if qmp is not None:
        document["qmp"] = {"socket": str(qmp)}
    return json.dumps(document)


class Served:
    """A served fake machine; leaving the block kills it if it still runs.

    Options are tables of the document, `stdin`, `stderr`, `fds` to inherit, `held` (the start waits for
    `goes_on()` or `fails()`), and `shell`: the script that starts the command ("$@").
    """

    def __init__(self, qmp: Path | None, **options: Any) -> None:
        stdin = options.pop("stdin", subprocess.DEVNULL)
        stderr = options.pop("stderr", subprocess.PIPE)
        shell = options.pop("shell", "")
        fds = options.pop("fds", ())
        held = ["held"] if options.pop("held", False) else []
        self._clients: list[Client] = []
        self.path = qmp
        self._log, log = os.pipe()
        events, self._events = os.pipe()
        self._lines = b""
        words = ["-m", "tests.unit.control.fake_machine", str(log), str(events), _document(qmp, options)]
        self.process = subprocess.Popen(
            [*(["sh", "-c", shell, "sh"] if shell else []), sys.executable, *words, *held],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(log, events, *fds),
            start_new_session=True,
            preexec_fn=_take_terminal if shell else None,  # noqa: PLW1509 - only an ioctl
        )
        os.close(log)
        os.close(events)

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        self.process.kill()
        self.process.wait()
        os.close(self._log)
        os.close(self._events)
        for stream in (self.process.stderr, self.process.stdin):
            if stream is not None:
                stream.close()

    def hang_up(self) -> None:
        """Disconnect every client."""
        while self._clients:
            self._clients.pop().close()

    def happens(self, kind: str, text: str = "", cause: str = "", **more: str | int) -> None:
        """Let a thread of the machine tell something."""
        words = {"kind": kind, "text": text, "cause": cause, **more}
        os.write(self._events, json.dumps(words).encode() + b"\n")

    def did(self) -> str:
        """Return what the machine was asked next."""
        while b"\n" not in self._lines:
            assert self._hear(), f"the process ended: {self.error_text()}"
        line, self._lines = self._lines.split(b"\n", 1)
        return line.decode()

    def did_at_last(self) -> list[str]:
        """Return what the machine was still asked, once no process of it is left."""
        while self._hear():
            pass
        return self._lines.decode().splitlines()

    def _hear(self) -> bool:
        ready, _, _ = select.select([self._log], [], [], TIMEOUT_S)
        assert ready, "the machine was asked nothing"
        piece = os.read(self._log, 65536)
        self._lines += piece
        return bool(piece)

    def is_built(self) -> int:
        """Wait until a held start builds its machine; return its process id."""
        verb, _, number = self.did().partition(" ")
        assert verb == "build"
        return int(number)

    def goes_on(self) -> None:
        """Let a held start go on."""
        os.write(self._events, GO_ON)

    def fails(self) -> None:
        """Let a held start fail."""
        os.write(self._events, b"fails")

    def fed(self, size: int) -> bytes:
        """Return what the serial port was given, once it is that much."""
        data = b""
        while len(data) < size:
            verb, _, value = self.did().partition(" ")
            assert verb == "fed"
            data += bytes.fromhex(value)
        return data

    def has_started(self) -> None:
        """Return when the machine runs."""
        assert self.did() == "start"

    def connect(self) -> Client:
        """Return a connected client that has been greeted."""
        client = self.knock()
        assert "QMP" in client.receive()
        return client

    def fill(self, places: int = CLIENTS_AT_MOST) -> list[Client]:
        """Return clients in so many places."""
        return [self.connect() for _ in range(places)]

    def knock(self) -> Client:
        """Return a client that has connected, and may have to wait."""
        self._clients.append(Client(self.path))
        return self._clients[-1]

    def finish(self) -> tuple[int, str]:
        """Wait for the end; return status and what stood on stderr."""
        status = self.process.wait(TIMEOUT_S)
        return status, self.error_text()

    def error_text(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def kill(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


class Client:
    """A QMP client that sees every byte."""

    def __init__(self, path: Path | None) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT_S)
        self._buffer = b""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                self.socket.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):  # not yet, or too many wait
                assert time.monotonic() < deadline, f"{path} never listened"
                select.select([], [], [], 0.002)  # only another try can tell
            else:
                return

    def send(self, data: bytes | str | dict[str, Any]) -> None:
        if isinstance(data, dict):
            data = json.dumps(data)
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def receive_line(self) -> str:
        """Return the next line; EOFError at the end."""
        while b"\n" not in self._buffer:
            piece = self.socket.recv(65536)
            if not piece:
                assert self._buffer == b""
                raise EOFError
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.receive_line())
        return message

    def receive_all(self) -> list[dict[str, Any]]:
        """Return every message up to the end of the connection."""
        messages = []
        while True:
            try:
                messages.append(self.receive())
            except (EOFError, ConnectionResetError):
                return messages

    def ask(self, data: bytes | str | dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the next message."""
        self.send(data)
        return self.receive()

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()


def call(client: Client, name: str, **arguments: object) -> Any:
    """Return what a command returns, or the class and text of its error."""
    named = {key.replace("_", "-") if key != "fdname" else key: value for key, value in arguments.items()}
    reply = client.ask(json.dumps({"execute": name, "arguments": named}))
    return reply["return"] if "return" in reply else (reply["error"]["class"], reply["error"]["desc"])
