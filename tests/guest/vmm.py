"""A machine as its users run it: the `stratovirt` process, its serial output, its QMP socket."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Any

COMMAND = [str(Path(sys.executable).with_name("stratovirt"))]


class Vmm:
    """A running `stratovirt`; leaving the block kills it if it still runs."""

    def __init__(
        self,
        *words: str | Path,
        stdin: int = subprocess.DEVNULL,
        timeout: float = 60,
        fds: Sequence[int] = (),
        command: Sequence[str] = COMMAND,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.deadline = time.monotonic() + timeout
        self.process = subprocess.Popen(
            [*command, *map(str, words)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=fds,
            env=env,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._out = self.process.stdout
        self._err = self.process.stderr
        self.output = b""

    def __enter__(self) -> Vmm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self._out, self._err, self.process.stdin):
            if stream is not None:
                stream.close()

    def left(self) -> float:
        """Return the seconds that this test still has."""
        return max(self.deadline - time.monotonic(), 0.01)

    def read_until(self, wanted: bytes) -> bytes:
        """Read serial output until it holds `wanted`; return all of it."""
        while wanted not in self.output:
            self.read_more(f"no {wanted!r} in {self.output[-2000:]!r}")
        return self.output

    def read_more(self, missing: str) -> None:
        """Read what comes next; `missing` is said when nothing does."""
        ready, _, _ = select.select([self._out], [], [], self.left())
        assert ready, missing
        piece = os.read(self._out.fileno(), 65536)
        assert piece, f"ended: {missing} {self._err.read()!r}"
        self.output += piece

    def type(self, keys: bytes) -> None:
        """Give the serial port input; `stdin` was a pipe."""
        assert self.process.stdin is not None
        self.process.stdin.write(keys)
        self.process.stdin.flush()

    def ask(self, command: str) -> int:
        """Have the guest tests/guest/tiny/obey.c do something; return the number that it answers."""
        before = len(self.output)
        self.type(f"{command}\n".encode())
        return self.answer(before)

    def answer(self, before: int) -> int:
        """Return the number of the line that follows the first `before` bytes of output."""
        while b"\n" not in self.output[before:]:
            self.read_more(f"no answer in {self.output[-2000:]!r}")
        return int(self.output[before:].split()[1], 16)

    def read_available(self) -> None:
        """Read the serial output that is there."""
        while select.select([self._out], [], [], 0)[0]:
            piece = os.read(self._out.fileno(), 65536)
            if not piece:
                return
            self.output += piece

    def finish(self) -> tuple[int, bytes, str]:
        """Wait for the end; return status, all serial output and what stood on stderr."""
        try:
            out, err = self.process.communicate(timeout=self.left())
        except subprocess.TimeoutExpired as error:
            self.output += error.output or b""
            raise AssertionError(f"no end after {self.output[-3000:]!r}, {error.stderr!r}") from error
        self.output += out
        return self.process.returncode, self.output, err.decode()


class Qmp:
    """A QMP connection that keeps every message in order."""

    def __init__(self, path: Path, deadline: float) -> None:
        self.deadline = deadline
        self.messages: list[dict[str, Any]] = []
        self._buffer = b""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connect(str(path))
        self.greeting = self.receive()

    def _connect(self, path: str) -> None:
        while True:
            try:
                self.socket.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                # The only way to learn that the socket listens is to try; the process has no other sign.
                assert time.monotonic() < self.deadline, f"{path} never listened"
                select.select([], [], [], 0.005)
            else:
                return

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        while b"\n" not in self._buffer:
            self.socket.settimeout(max(self.deadline - time.monotonic(), 0.01))
            piece = self.socket.recv(65536)
            if not piece:
                raise EOFError("QMP closed")
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        self.messages.append(message)
        return message

    def call(self, command: str, **arguments: object) -> Any:
        """Execute a command; return what it returns. Events before the reply stay in `messages`."""
        request: dict[str, object] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self.socket.sendall(json.dumps(request).encode())
        while True:
            message = self.receive()
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise RuntimeError(message["error"]["desc"])

    def pass_fd(self, fd: int, name: str) -> None:
        """Hand the machine a descriptor under a name, by getfd."""
        request = {"execute": "getfd", "arguments": {"fdname": name}}
        socket.send_fds(self.socket, [json.dumps(request).encode()], [fd])
        assert self.receive() == {"return": {}}

    def wait_event(self, name: str) -> dict[str, Any]:
        """Return the next event of that name."""
        while True:
            message = self.receive()
            if message.get("event") == name:
                return message

    def close(self) -> None:
        self.socket.close()
