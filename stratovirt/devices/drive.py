"""virtio-blk: a disk and its image (VIRTIO 1.2, 5.2)."""

from __future__ import annotations

import os

from stratovirt.devices.device import BackedDevice
from stratovirt.errors import HostError, StratovirtError
from stratovirt.record import flag, integer, path, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.machine.chassis import Chassis

SECTOR = 512
_KIND_MASK, _REGULAR, _BLOCK = (
    0o170000,
    0o100000,
    0o060000,
)  # stat's S_IFMT, S_IFREG, S_IFBLK: `stat` costs a module


class Drive(BackedDevice):
    """A disk: /dev/vda is the first one in the document, /dev/vdb the second."""

    option = "drive"
    reference = "drive"
    device_id = "ignored"
    drivers = {"virtio-blk-device": "mmio", "virtio-blk-pci": "pci"}  # noqa: RUF012
    label = "drive"

    file: str = path("Image file or block device on the host")
    readonly: bool = flag("The guest may only read", default=False)
    direct: bool = flag("Open the image with O_DIRECT, past the page cache of the host", default=True)
    serial: str | None = text(
        "Serial number that the guest reads", max_length=20, pattern="line", default=None
    )
    iothread: str | None = text("I/O thread that serves the disk", pattern="name", default=None, on="device")
    iops: int | None = integer(
        "Operations each second at most", default=None, minimum=1, maximum=1_000_000, on="device"
    )

    def realize(self, name: str, chassis: Chassis) -> None:
        """Open the image and put a virtio-blk device before it."""
        from stratovirt.core import check, ffi, lib

        label = f"drive '{name}'"
        fd, size = open_image(label, self.file, readonly=self.readonly, direct=self.direct)
        try:
            config = ffi.new(
                "struct sv_blk_config *",
                {
                    "fd": fd,
                    "size": size,
                    "readonly": self.readonly,
                    "discard": not self.readonly,
                    "alignment": direct_alignment(fd) if self.direct else 1,
                    "iops": self.iops or 0,
                    "engine": lib.SV_AIO_AUTO,
                    "serial": (self.serial or "").encode()[:20],
                    "iothread": chassis.iothread(self.iothread),
                },
            )
            out = ffi.new("struct sv_virtio **")
            check(f"make {label}", lib.sv_blk_create(chassis.core.handle, config, out))
        finally:
            os.close(fd)
        chassis.place_mmio(label, out[0])


def open_image(label: str, path: str, *, readonly: bool, direct: bool) -> tuple[int, int]:
    """Open an image; return descriptor and size, or say what is wrong with the file."""
    mode = os.O_CLOEXEC | (os.O_RDONLY if readonly else os.O_RDWR) | (os.O_DIRECT if direct else 0)
    try:
        fd = os.open(path, mode)
    except OSError as error:
        raise HostError(f"{label}: open {path}", error, hint=_open_hint(error, readonly=readonly)) from error
    try:
        return fd, _image_size(label, path, fd)
    except BaseException:
        os.close(fd)
        raise


def _open_hint(error: OSError, *, readonly: bool) -> str:
    if error.errno == 22:  # EINVAL
        return "this file system has no O_DIRECT; set direct = false (direct=off)"
    if error.errno in {1, 13, 30} and not readonly:  # EPERM, EACCES, EROFS
        return "let the user write the file, or set readonly = true (readonly=on)"
    return "is `file` the image that was meant?"


def _image_size(label: str, path: str, fd: int) -> int:
    kind = os.fstat(fd).st_mode & _KIND_MASK
    if kind not in {_REGULAR, _BLOCK}:
        raise StratovirtError(
            f"{label}: {path} is neither a regular file nor a block device", hint="name a raw image"
        )
    size = os.lseek(fd, 0, os.SEEK_END)
    if size == 0 or size % SECTOR:
        raise StratovirtError(
            f"{label}: {path} has {size} bytes, not a whole number of {SECTOR}-byte sectors",
            hint=f"make it larger: truncate -s {size // SECTOR * SECTOR + SECTOR} {path}",
        )
    return size


def direct_alignment(fd: int) -> int:
    """Return what O_DIRECT wants of offsets and lengths: the smallest block that can be read."""
    import mmap

    page = mmap.mmap(-1, 4096)
    for size in (512, 4096):
        view = memoryview(page)[:size]
        try:
            os.preadv(fd, [view], 0)
        except OSError:
            continue
        finally:
            view.release()
        return size
    return 4096


DEVICE = Drive
