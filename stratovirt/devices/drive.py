"""virtio-blk: a disk and its image (VIRTIO 1.2, 5.2)."""

from __future__ import annotations

from stratovirt.devices.device import BackedDevice
from stratovirt.record import Record, choice, flag, integer, path, size, table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.core._core import CData
    from stratovirt.devices.image import Image
    from stratovirt.machine.chassis import Chassis

QUEUES_MAX = 16
IOPS_MAX = 1_000_000


class Limit(Record):
    """What a disk may do each second; flushes and discards count as writes without bytes."""

    read_ops: int | None = integer("Reads each second at most", default=None, minimum=1, maximum=IOPS_MAX)
    write_ops: int | None = integer(
        "Writes, flushes and discards each second at most", default=None, minimum=1, maximum=IOPS_MAX
    )
    bytes: int | None = size("Bytes each second at most, 64K or more", default=None)
    read_bytes: int | None = size("Bytes read each second at most, 64K or more", default=None)
    write_bytes: int | None = size("Bytes written each second at most, 64K or more", default=None)
    burst_ms: int | None = integer(
        "Milliseconds of each limit, iops too, that an idle disk saves up; about 31 without it",
        default=None,
        minimum=1,
        maximum=60_000,
    )


class Drive(BackedDevice):
    """A disk: /dev/vda is the first one in the document, /dev/vdb the second."""

    option = "drive"
    reference = "drive"
    aliases = {"throttling.iops-total": "iops"}  # noqa: RUF012
    device_id = "ignored"
    drivers = {"virtio-blk-device": "mmio", "virtio-blk-pci": "pci"}  # noqa: RUF012
    idle_words = {"": {"format": ("raw",), "if": ("none",), "aio": ("io_uring", "native", "threads", "off")}}  # noqa: RUF012
    label = "drive"
    spares = 4

    file: str = path("Image file or block device on the host")
    readonly: bool = flag("The guest may only read", default=False)
    direct: bool = flag("Open the image with O_DIRECT, past the page cache of the host", default=True)
    serial: str | None = text(
        "Serial number that the guest reads", max_length=20, pattern="line", default=None, also_on="device"
    )
    iothread: str | None = text("I/O thread that serves the disk", pattern="name", default=None, on="device")
    iops: int | None = integer(
        "Operations each second at most", default=None, minimum=1, maximum=IOPS_MAX, on="device", also_on=""
    )
    queues: int = integer(
        "Queues; a guest uses one for each of its CPUs at most",
        default=1,
        minimum=1,
        maximum=QUEUES_MAX,
        key="num-queues",
        on="device",
    )
    limit: Limit | None = table("More limits of what it may do each second", Limit, on="none")
    lock: str = choice(
        "auto: refuse an image that others write, where its file system has locks; off: trust the user",
        ("auto", "off"),
        default="auto",
        on="none",
    )

    @classmethod
    def spare(cls, name: str, chassis: Chassis) -> None:
        """Make a disk without an image, which the guest sees as one of no size."""
        Disk(name).create(chassis, None, None)

    def realize(self, name: str, chassis: Chassis) -> None:
        """Open the image and put a virtio-blk device before it."""
        from stratovirt.devices.image import Image

        label = f"drive '{name}'"
        disk = Disk(name)
        with Image(label, self.file, readonly=self.readonly, direct=self.direct, lock=self.lock) as image:
            disk.create(chassis, self, image)


class Disk:
    """A disk of a running machine, as QMP sees it: its image may be taken out and another one put in."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.label = f"drive '{name}'"
        self._handle: CData | None = None
        self._info: dict[str, object] | None = None

    def create(self, chassis: Chassis, drive: Drive | None, image: Image | None) -> None:
        """Make the device and give it its place; without a record it has defaults, without an image none."""
        from stratovirt.core import check, ffi, lib

        settings = {} if drive is None else _settings(drive, chassis)
        config = ffi.new("struct sv_blk_config *", {**_described(image), **settings})
        out = ffi.new("struct sv_virtio **")
        check(f"make {self.label}", lib.sv_blk_create(chassis.core.handle, config, out))
        self._handle = out[0]
        self._info = _told(image)
        chassis.place_mmio(self.label, out[0])
        chassis.drive_names[lib.sv_virtio_id(out[0])] = self.name
        chassis.live["drive", self.name] = self

    def prepare(self) -> None:
        """Make what an image that comes later is served by; a host that has no io_uring serves it without."""
        from stratovirt.core import lib

        lib.sv_blk_prepare(self._handle)

    def plug(self, path: str, *, readonly: bool, direct: bool, serial: str = "", lock: str = "auto") -> None:
        """Put an image in; StratovirtError when there is one already, or this one cannot be used."""
        from stratovirt.core import check, ffi, lib
        from stratovirt.devices.image import Image

        with Image(self.label, path, readonly=readonly, direct=direct, lock=lock) as image:
            data = {**_described(image), "serial": serial.encode()[:20]}
            config = ffi.new("struct sv_blk_config *", data)
            check(
                f"put {path} into {self.label}",
                lib.sv_blk_plug(self._handle, config),
                hint="a disk has one image: take the other one out first",
            )
            self._info = _told(image)

    def unplug(self) -> None:
        """Take the image out once its I/O has ended: the guest sees a disk of no size."""
        from stratovirt.core import check, lib

        check(f"take the image out of {self.label}", lib.sv_blk_unplug(self._handle), hint="there is none")
        self._info = None

    def info(self) -> dict[str, object] | None:
        """Return file, size, readonly and direct of the image; None when there is none."""
        return self._info


def _settings(drive: Drive, chassis: Chassis) -> dict[str, object]:
    """Return what a device has for good."""
    settings: dict[str, object] = {
        "serial": (drive.serial or "").encode()[:20],
        "iothread": chassis.iothread(drive.iothread),
        "queues": drive.queues,
        "iops": drive.iops or 0,
    }
    limit = drive.limit
    if limit is not None:
        settings |= {
            "read_iops": limit.read_ops or 0,
            "write_iops": limit.write_ops or 0,
            "bytes": limit.bytes or 0,
            "read_bytes": limit.read_bytes or 0,
            "write_bytes": limit.write_bytes or 0,
            "burst_ms": limit.burst_ms or 0,
        }
    return settings


def _described(image: Image | None) -> dict[str, object]:
    """Return what the core has to know of an image."""
    if image is None:
        return {"fd": -1}
    return {
        "fd": image.fd,
        "size": image.size,
        "readonly": image.readonly,
        "discard": not image.readonly,
        "alignment": image.alignment,
    }


def _told(image: Image | None) -> dict[str, object] | None:
    if image is None:
        return None
    return {"file": image.path, "size": image.size, "readonly": image.readonly, "direct": image.direct}


DEVICE = Drive
