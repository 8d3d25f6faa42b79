"""The commands of hot replace: disks and cards of a running machine (guidebook, 3.4)."""

from __future__ import annotations

import os
from stat import S_ISBLK, S_ISREG

from stratovirt.control.qmp.events import Event
from stratovirt.control.qmp.registry import command, shortened
from stratovirt.control.qmp.shelf import Backend
from stratovirt.errors import QmpError
from stratovirt.record import MISSING, Record, choice, count, flag, integer, path, switch, table, text
from stratovirt.units import DESCRIPTOR_MAX, is_decimal, is_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stratovirt.control.qmp.registry import Target
    from stratovirt.control.qmp.shelf import CardSlot, Slot

# Driver to the table of the document that has its slots, and what the original calls them.
DRIVERS = {
    "virtio-blk-mmio": ("drive", "block"),
    "virtio-blk-device": ("drive", "block"),
    "virtio-net-mmio": ("net", "net"),
    "virtio-net-device": ("net", "net"),
}


ID_MAX = 255
_BOOLEANS = ("on", "off", "true", "false")


class DeviceDeleted(Event):
    """A device has no backend any more."""

    event = "DEVICE_DELETED"
    device: str = text("Its id")
    path: str = text("The image of a disk, the id of a card")


class Cache(Record):
    """How the host caches an image."""

    direct: bool = flag("Past the page cache of the host", default=True)
    no_flush: bool = flag("Without effect: a flush of the guest always reaches the disk", default=False)


class ImageFile(Record):
    """Where an image is."""

    driver: str = choice("A file or a block device: images are raw", ("file", "host_device", "raw"))
    filename: str = path("Image file or block device on the host", max_length=4096)
    aio: str | None = text("Without effect: io_uring where the host has it", default=None)


class BlockdevAdd(Record):
    """The arguments of `blockdev-add`."""

    node_name: str = text("Id of the backend, and of its device", max_length=ID_MAX, pattern="name")
    file: ImageFile = table("The image", ImageFile, default=MISSING)
    cache: Cache | None = table("How the host caches it", Cache)
    read_only: bool = flag("The guest may only read", default=False)
    read_zeros: bool | None = flag("Without effect", default=None)
    driver: str | None = choice("Images are raw", ("raw", "file", "host_device"), default=None)
    backing: str | None = text("Without effect: raw images have none", default=None)
    discard: str | None = text("Without effect: a writable disk can discard", default=None)
    id: str | None = text("Without effect: node-name is the id", default=None)
    options: str | None = text("Without effect", default=None)


class NodeName(Record):
    """The arguments of `blockdev-del`."""

    node_name: str = text("Id of the backend")


class NetdevAdd(Record):
    """The arguments of `netdev_add`."""

    id: str = text("Id of the backend, and of its device", max_length=ID_MAX, pattern="name")
    ifname: str | None = text(
        "Tap device on the host", default=None, key="ifname", max_length=15, pattern="name"
    )
    fds: str | None = text("Names of getfd or numbers of inherited descriptors, with colons", default=None)
    type: str | None = text("Without effect: it is a tap", default=None)
    dnssearch: str | None = text("Without effect", default=None)
    vhost: bool | str | None = switch(
        "Whether vhost serves the card: that was settled at the start", ("on", "off"), default=None
    )
    vhostfds: str | None = text("Refused: a card keeps its modules", default=None, key="vhostfds")
    downscript: str | None = text("Without effect: no script is run", default=None)
    script: str | None = text("Without effect: no script is run", default=None)
    queues: int | str | None = count("Pairs of queues: those of the card", default=None)


class Id(Record):
    """The arguments of `netdev_del` and `device_del`."""

    id: str = text("Id of the backend or device")


class DeviceAdd(Record):
    """The arguments of `device_add`."""

    id: str = text("Id of a backend that waits")
    driver: str = text("virtio-blk-mmio or virtio-net-mmio")
    addr: str | None = text("Number of the slot, in hexadecimal: 0x0 is vda, or eth0", default=None)
    lun: int | None = integer("Number of the slot, less one", default=None, minimum=0, maximum=254)
    drive: str | None = text("Without effect: the id names the backend", default=None)
    netdev: str | None = text("Without effect: the id names the backend", default=None)
    mac: str | None = text("The address that the card has: its driver has read it long ago", default=None)
    bus: str | None = text("Without effect", default=None)
    num_queues: int | str | None = count("Without effect: those of the disk", default=None)
    romfile: str | None = text("Without effect", default=None)
    share_rw: bool | str | None = switch("Without effect", _BOOLEANS, default=None)
    disable_modern: bool | str | None = switch("Without effect", _BOOLEANS, default=None)
    mq: bool | str | None = switch("Without effect: that is the card's", _BOOLEANS, default=None)
    vectors: int | str | None = count("Without effect: virtio-mmio has none", default=None)


@command("blockdev-add", BlockdevAdd)
def blockdev_add(target: Target, arguments: BlockdevAdd) -> object:
    """Describe an image, to be put into a slot by device_add."""
    filename = arguments.file.filename
    try:
        mode = os.stat(filename).st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise QmpError(f"image {filename}: {reason}") from None
    if not (S_ISREG(mode) or S_ISBLK(mode)):
        raise QmpError("File is not a regular file or block device")
    direct = arguments.cache is None or arguments.cache.direct
    properties = {"path": filename, "readonly": arguments.read_only, "direct": direct}
    _check_free(target, arguments.node_name)
    target.shelf.add(arguments.node_name, lambda: Backend("drive", filename, properties))
    return {}


@command("blockdev-del", NodeName)
def blockdev_del(target: Target, arguments: NodeName) -> object:
    """Forget an image that no device uses."""
    target.shelf.remove(arguments.node_name, "drive")
    return {}


@command("netdev_add", NetdevAdd)
def netdev_add(target: Target, arguments: NetdevAdd) -> object:
    """Describe a tap, to be put into a slot by device_add."""
    if arguments.fds is None and arguments.ifname is None:
        raise QmpError("netdev_add needs 'ifname' or 'fds'")
    if arguments.vhostfds is not None:
        raise QmpError("a card keeps the modules that it was started with: leave vhostfds out")
    _check_free(target, arguments.id)
    target.shelf.add(arguments.id, lambda: _tap(target, arguments))
    return {}


def _check_card(arguments: NetdevAdd, card: CardSlot) -> None:
    """Refuse what would make another card: who serves it, and its queues, are settled at the start."""
    wanted = {True: "on", False: "off"}.get(arguments.vhost, arguments.vhost)  # type: ignore[arg-type]
    if wanted not in {None, "on" if card.vhost else "off"}:
        served = "vhost serves" if card.vhost else "this process serves"
        raise QmpError(
            f"vhost is '{wanted}', and {served} the card, as it did from the start: leave vhost out, "
            f"or start the machine with a card that has vhost={wanted}"
        )
    if arguments.queues is not None and str(arguments.queues) != str(card.pairs):
        raise QmpError(
            f"queues is '{shortened(str(arguments.queues))}', and the card has {card.pairs}, which it keeps: "
            "leave queues out, or start the machine with a card that has them"
        )


def _tap(target: Target, arguments: NetdevAdd) -> Backend:
    def suits(slot: CardSlot) -> None:
        _check_card(arguments, slot)

    if arguments.fds is None:
        return Backend("net", arguments.id, {"tap": arguments.ifname, "fds": ()}, suits=suits)
    words = arguments.fds.split(":")
    for word in words:
        if not target.descriptors.knows(word) and not _is_descriptor(word):
            raise QmpError(f"fds: '{shortened(word)}' is neither a name of getfd nor a descriptor's number")
    if len(set(words)) < len(words):
        raise QmpError("fds: each descriptor serves one pair of queues; one is named twice")
    owned = [target.descriptors.take(word) for word in words if target.descriptors.knows(word)]
    taken = iter(owned)
    fds = tuple(int(word) if is_decimal(word) else next(taken) for word in words)
    return Backend("net", arguments.id, {"tap": None, "fds": fds}, owned, suits)


def _is_descriptor(word: str) -> bool:
    return is_decimal(word) and int(word) <= DESCRIPTOR_MAX


@command("netdev_del", Id)
def netdev_del(target: Target, arguments: Id) -> object:
    """Forget a tap that no device uses."""
    target.shelf.remove(arguments.id, "net")
    return {}


@command("device_add", DeviceAdd)
def device_add(target: Target, arguments: DeviceAdd) -> object:
    """Put a backend into a slot: the guest sees the disk grow, or the card's link come up."""
    if arguments.driver not in DRIVERS:
        known = ", ".join(DRIVERS)
        raise QmpError(f"Unsupported replaceable device type. '{arguments.driver}' is none of {known}")
    kind, word = DRIVERS[arguments.driver]
    slots = list(target.machine.slots(kind).values())
    number = _slot_number(arguments, slots)
    if number >= len(slots):
        raise QmpError(f"A maximum of {len(slots)} {word} replaceable devices are supported.")
    if slots[number].info() is not None:
        raise QmpError(f"The slot {number} is occupied already.")
    if kind == "net":
        card: Any = slots[number]
        _check_mac(arguments.mac, card)
    target.shelf.seat(arguments.id, kind, slots[number])
    return {}


def _check_mac(wanted: str | None, slot: CardSlot) -> None:
    """Refuse an address that is not the card's: the guest would go on with another one than was asked for."""
    held = slot.mac
    if wanted is None or (held is not None and wanted.lower() == held.lower()):
        return
    has = "the guest chose its card's address" if held is None else f"the card has {held}"
    raise QmpError(
        f"mac is '{shortened(wanted)}', and {has}, which it keeps; "
        "leave mac out, or start the machine with a card that has this one"
    )


def _slot_number(arguments: DeviceAdd, slots: list[Slot]) -> int:
    """Return which slot is meant; the first empty one when nothing says."""
    if arguments.addr is not None:
        digits = arguments.addr.lower().removeprefix("0x")
        if not is_hex(digits) or len(digits) > 8:
            raise QmpError(f"addr is '{arguments.addr}', not a hexadecimal number like 0x1")
        return int(digits, 16)
    if arguments.lun is not None:
        return arguments.lun + 1
    return next((number for number, slot in enumerate(slots) if slot.info() is None), len(slots))


@command("device_del", Id)
def device_del(target: Target, arguments: Id) -> object:
    """Take the backend out of a device; the guest is not asked."""
    name = arguments.id
    deleted = target.shelf.unseat(name)
    if deleted is None:
        deleted = _unplug_described(target, name)
    target.emit(DeviceDeleted(device=name, path=deleted))
    return {}


def _unplug_described(target: Target, name: str) -> str:
    """Empty a slot that the machine was started with; return the path for the event."""
    for kind, _word in DRIVERS.values():
        slot = target.machine.slots(kind).get(name)
        held = None if slot is None else slot.info()
        if slot is not None and held is not None and not target.shelf.name_in(slot):
            slot.unplug()
            target.shelf.took(name, kind)
            return str(held["file"]) if kind == "drive" else name
    raise QmpError(f"Device {name} not found", "DeviceNotFound")


def _check_free(target: Target, name: str) -> None:
    """Refuse the id of a device that the machine was started with and that still has its backend."""
    for kind, _word in DRIVERS.values():
        slot = target.machine.slots(kind).get(name)
        if slot is not None and slot.info() is not None and not target.shelf.name_in(slot):
            raise QmpError(f"{name} is already registered.")
