"""Carries streams between the rig and this process: bytes both ways, control lines, a deadline."""

from __future__ import annotations

import os
import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

CHUNK = 65536
FOREVER = float("inf")


class Relay:
    """Moves bytes until the rig reports an end, the machine goes away, or time is up."""

    def __init__(self, control: socket.socket) -> None:
        self.lines: list[str] = []  # control lines, in order
        self._partial = b""
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ, None)
        self._from_machine: list[tuple[int, int]] = []

    def carry_out(self, source: socket.socket, sink: int) -> None:
        """Copy what the machine sends into a descriptor, to the last byte."""
        self._from_machine.append((source.fileno(), sink))
        self._selector.register(source.fileno(), selectors.EVENT_READ, sink)

    def carry_in(self, source: int, sink: socket.socket) -> None:
        """Copy what the user types to the machine, for as long as the job runs."""
        self._selector.register(source, selectors.EVENT_READ, sink.fileno())

    def wait(self, words: tuple[str, ...], deadline: float, silence: float = FOREVER) -> str:
        """Carry until a control line starts with one of the words; returns it.

        Returns "gone" when the machine closed its end, "dead" when it sent nothing for `silence` seconds, and
        "late" when the deadline (monotonic time) passed.
        """
        heard = time.monotonic()
        while not (self.lines and self.lines[-1].split(" ")[0] in words):
            now = time.monotonic()
            if now >= deadline:
                return "late"
            if now >= heard + silence:
                return "dead"
            for key, _ in self._selector.select(_span(min(deadline, heard + silence) - now)):
                heard = time.monotonic()
                if not self._serve(key):
                    return "gone"
        return self.lines[-1]

    def drain(self) -> None:
        """Carry what is left, after the machine has ended."""
        self._selector.close()
        for source, sink in self._from_machine:
            while self._copy(source, sink):
                pass

    def _serve(self, key: selectors.SelectorKey) -> bool:
        if key.data is None:
            return self._read_control()
        if not self._copy(key.fd, key.data):
            self._selector.unregister(key.fileobj)
        return True

    def _read_control(self) -> bool:
        data = _read(self._control.fileno())
        *whole, self._partial = (self._partial + data).split(b"\n")
        self.lines += [line.decode(errors="replace") for line in whole]
        return bool(data)

    def _copy(self, source: int, sink: int) -> bool:
        data = _read(source)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(sink, rest) :]
        return bool(data)


def _span(seconds: float) -> float | None:
    """Return a time as select() takes it."""
    return None if seconds == FOREVER else seconds


def _read(descriptor: int) -> bytes:
    """Read a chunk; a peer that ended is an end of file, however it ended."""
    try:
        return os.read(descriptor, CHUNK)
    except OSError:  # a terminal that hung up, a socket that was reset
        return b""
