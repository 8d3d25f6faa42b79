"""Descriptors that clients pass over the socket (unix(7), SCM_RIGHTS): those that have a name, and others."""

from __future__ import annotations

import os

from stratovirt.errors import QmpError

NAMED_AT_MOST = 256


class Descriptors:
    """Owns what a client passed, until somebody takes it. Names outlive it, and are common to all clients."""

    def __init__(self, named: dict[str, int]) -> None:
        self._received: list[int] = []
        self._named = named

    def for_client(self) -> Descriptors:
        """Return what another client passes; the names are the same ones."""
        return Descriptors(self._named)

    def receive(self, fds: list[int]) -> None:
        """Own descriptors that came with a client's bytes; getfd names them in this order.

        As in QEMU they take the place of those that came before and got no name.
        """
        self.forget_received()
        self._received += fds

    def forget_received(self) -> None:
        """Close what got no name."""
        while self._received:
            os.close(self._received.pop())

    def name_next(self, name: str) -> None:
        """Give the oldest received one a name; one that had the name already is closed."""
        if not self._received:
            raise QmpError("No file descriptor supplied via SCM_RIGHTS")
        if name not in self._named and len(self._named) == NAMED_AT_MOST:
            raise QmpError(f"{NAMED_AT_MOST} descriptors have names already; close some with closefd")
        replaced = self._named.pop(name, -1)
        self._named[name] = self._received.pop(0)
        if replaced >= 0:
            os.close(replaced)

    def knows(self, name: str) -> bool:
        """Tell whether a descriptor has the name."""
        return name in self._named

    def take(self, name: str) -> int:
        """Return the descriptor of that name, which is the caller's from then on."""
        if name not in self._named:
            raise QmpError(f"File descriptor named '{name}' not found")
        return self._named.pop(name)

    def close(self) -> None:
        """Close everything."""
        self.forget_received()
        for fd in self._named.values():
            os.close(fd)
        self._named.clear()
