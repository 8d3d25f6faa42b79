"""Hot replace: backends that wait for a device, and which device sits in which slot (guidebook, 3.4)."""

from __future__ import annotations

import os

from stratovirt.errors import QmpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Protocol

    class Slot(Protocol):
        """A device of the guest whose backend can be replaced while it runs."""

        def info(self) -> dict[str, object] | None:
            """Return what is in it, for queries; None when it is empty."""

        def plug(self, **backend: Any) -> None:
            """Put a backend in; StratovirtError when it cannot be used, and the slot stays empty."""

        def unplug(self) -> None:
            """Take the backend out; the guest sees a device without one."""

    class CardSlot(Slot, Protocol):
        """A card; `mac` is what the document gave it, None where the guest chooses."""

        mac: str | None
        pairs: int  # of queues
        vhost: bool  # it was made to be served by the host's kernel


WAITING_AT_MOST = 64  # backends without a device


class Backend:
    """What blockdev-add or netdev_add described. `fds` are owned, and closed with it."""

    def __init__(
        self,
        table: str,
        path: str,
        properties: dict[str, Any],
        fds: Sequence[int] = (),
        suits: Callable[[Any], None] | None = None,
    ) -> None:
        self.table = table
        self.path = path  # what DEVICE_DELETED says
        self.properties = properties
        self._fds = list(fds)
        self._suits = suits

    def put_into(self, slot: Slot) -> None:
        """Plug it into a slot, if that is one it was described for: QmpError says why it is not."""
        if self._suits is not None:
            self._suits(slot)
        slot.plug(**self.properties)

    def close(self) -> None:
        """Close what it owns; the slot has descriptors of its own."""
        while self._fds:
            os.close(self._fds.pop())


class Shelf:
    """The backends by id, and the slots that hold one of them."""

    def __init__(self) -> None:
        self._waiting: dict[str, Backend] = {}
        self._seats: dict[str, tuple[Backend, Slot]] = {}
        self._gone: dict[str, str] = {}  # ids that device_del took, with their tables, newest last

    def add(self, name: str, backend: Callable[[], Backend]) -> None:
        """Let a backend wait for device_add. It is only made when the id is free."""
        if name in self._waiting or name in self._seats:
            raise QmpError(f"{name} is already registered.")
        if len(self._waiting) == WAITING_AT_MOST:
            raise QmpError(f"{WAITING_AT_MOST} backends wait for a device already")
        self._waiting[name] = backend()
        self._gone.pop(name, None)

    def remove(self, name: str, table: str) -> None:
        """Forget a backend that waits, or that device_del has taken with its device already."""
        if self._gone.get(name) == table:
            del self._gone[name]
            return
        if name in self._seats:
            raise QmpError(f"{name} is in use; device_del comes first")
        backend = self._waiting.get(name)
        if backend is None or backend.table != table:
            raise QmpError(f"{name} not found")
        self._waiting.pop(name).close()

    def seat(self, name: str, table: str, slot: Slot) -> None:
        """Put a backend that waits into a slot; when that fails it goes on waiting."""
        if name in self._seats:
            raise QmpError(f"{name} is in use already")
        backend = self._waiting.get(name)
        if backend is None:
            raise QmpError("Failed to find device configuration.")
        if backend.table != table:
            raise QmpError(f"{name} is no backend for a device of this driver")
        backend.put_into(slot)
        self._seats[name] = (self._waiting.pop(name), slot)

    def name_in(self, slot: Slot | None) -> str:
        """Return the id of what is in a slot and came from here; "" when nothing did."""
        return next((name for name, (_backend, seated) in self._seats.items() if seated is slot), "")

    def unseat(self, name: str) -> str | None:
        """Take a backend out of its slot and forget it; return its path, None when no slot holds it."""
        if name not in self._seats:
            return None
        backend, slot = self._seats[name]
        slot.unplug()
        del self._seats[name]
        backend.close()
        self.took(name, backend.table)
        return backend.path

    def took(self, name: str, table: str) -> None:
        """Remember that a backend went with its device: who asks for it to go is answered that it has."""
        self._gone.pop(name, None)
        self._gone[name] = table
        if len(self._gone) > WAITING_AT_MOST:
            del self._gone[next(iter(self._gone))]

    def close(self) -> None:
        """Close every descriptor that backends own."""
        for backend in [*self._waiting.values(), *(backend for backend, _slot in self._seats.values())]:
            backend.close()
