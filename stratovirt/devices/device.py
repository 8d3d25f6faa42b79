"""What every device table has: how it stands on a command line, and how it becomes part of a machine."""

from __future__ import annotations

from stratovirt.errors import StratovirtError
from stratovirt.record import Record, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.machine.chassis import Chassis

# Said of a socket, what always holds: we listen, and nothing waits for a client.
LISTENING = frozenset(
    ("server", "server=on", "server=true", "server=yes", "nowait", "wait=off", "wait=false", "wait=no")
)


class Device(Record):
    """A table of the document that stands for a device.

    Fields marked `on="device"` are keys of the frontend's `-device`, those marked `on="lender"` keys of the
    flag of `lender`; the others are keys of `option`, the backend's own.
    """

    named = True  # [drive.root] rather than [vsock]
    option = ""  # the backend's flag, without dash; "" when the device is a frontend only
    id_key = "id"  # the key of `option` that gives the name of the table
    reference = ""  # the key of -device that names the backend
    drivers: dict[str, str] = {}  # noqa: RUF012 - driver name to transport: "mmio" or "pci" or "" for none
    # A backend that the flag of another table describes: that table, and for its fields those of this record.
    lender = ""
    lent: dict[str, str] = {}  # noqa: RUF012
    device_id = ""  # what `id` on the -device of a backend is: "name" of the table, or "ignored"
    word = ""  # the field that `option` gives as a bare word; "ignored" lets any word stand there
    hexadecimal: tuple[str, ...] = ()  # integer fields that flags write in hexadecimal
    aliases: dict[str, str] = {}  # noqa: RUF012 - other words for keys, with the key each one means
    # Of a flag ("" or "device"): keys without effect, with the values that say what holds anyway; () for any.
    idle_words: dict[str, dict[str, tuple[str, ...]]] = {}  # noqa: RUF012
    # What later releases of the original say instead; it is read, and never written.
    objects: dict[str, dict[str, str]] = {}  # noqa: RUF012 - types of -object: the field of each key
    later_drivers: dict[str, str] = {}  # noqa: RUF012 - more drivers, as in `drivers`
    idle_drivers: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - drivers that say nothing, with their keys
    idle_items: frozenset[str] = frozenset()  # items of `option` that say what holds anyway
    # Of -device: a field that is so much each second, as two keys with their docs: an amount, and in how many
    # milliseconds.
    rates: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {}  # noqa: RUF012
    label = "device"  # what messages call it
    shares_memory = False  # another process of the host has to map guest memory
    spares = 0  # how many of them a microvm has at least, empty ones included, that QMP can fill

    def transport(self) -> str:
        """Return where the device sits: "mmio", "pci" or "" for neither."""
        return ""

    def attached(self) -> bool:
        """Tell whether the guest sees it."""
        return True

    @classmethod
    def complete(cls, name: str, data: dict[str, object]) -> str:
        """Add to `data`, read from `option`, what it means beyond its keys; return the name of the table."""
        _ = data
        return name

    def spoken(self, name: str) -> tuple[str, Device]:
        """Return the id that `option` gives and what its keys say: the reverse of complete()."""
        return name, self

    @classmethod
    def uses(cls) -> dict[str, Callable[[], None]]:
        """Return what such a device can use of the host, each with a function that raises where it cannot."""
        return {}

    @classmethod
    def spare(cls, name: str, chassis: Chassis) -> None:
        """Make an empty one; only for a table with `spares`."""
        raise NotImplementedError

    def realize(self, name: str, chassis: Chassis) -> None:
        """Make the device part of the machine."""
        _ = chassis
        raise StratovirtError(
            f"{self.label} '{name}' cannot be run by this version",
            hint="`stratovirt check` accepts it already; take the table out to run the machine",
        )


class VirtioDevice(Device):
    """A virtio device: on virtio-mmio, or on PCI when `bus` and `addr` are given."""

    bus: str | None = text("PCI bus that the device sits on", pattern="name", default=None, on="device")
    addr: str | None = text(
        "Slot and function on the bus, in hexadecimal", pattern="pci", default=None, on="device"
    )

    def transport(self) -> str:
        """Return "pci" when the document places the device on a bus."""
        return "mmio" if self.bus is None and self.addr is None else "pci"


class BackedDevice(VirtioDevice):
    """A virtio device with a backend of its own flag, which may be described without being attached."""

    attach: bool = flag(
        "The guest sees the device; false describes the backend only", default=True, on="none"
    )

    def attached(self) -> bool:
        """Tell whether the guest sees it."""
        return self.attach
