"""virtio-fs: a folder of the host in the guest, by a daemon that serves it (VIRTIO 1.2, 5.11; docs/fs.md)."""

from __future__ import annotations

import errno
import posix

from stratovirt.devices.device import VirtioDevice
from stratovirt.record import path, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.machine.chassis import Chassis

_HINTS = {
    errno.ETIMEDOUT: "does virtiofsd listen there, and serve nobody else?",
    errno.EPIPE: "has it a client already? virtiofsd takes one",
}
_OF_THE_HOST = {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC}
_START = "start virtiofsd first, on this socket; one that has a client already takes no other"
_HINT = "is it virtiofsd that listens there?"


class Fs(VirtioDevice):
    """A folder of the host that virtiofsd shares; the guest does `mount -t virtiofs TAG /mnt`."""

    drivers = {"vhost-user-fs-device": "mmio", "vhost-user-fs-pci": "pci"}  # noqa: RUF012
    reference = "chardev"
    lender = "console"
    lent = {"path": "socket"}  # noqa: RUF012
    device_id = "ignored"
    label = "fs"
    shares_memory = True

    socket: str = path("Unix socket on which virtiofsd listens", on="lender")
    tag: str = text("Name by which the guest mounts it", pattern="tag", on="device")

    def realize(self, name: str, chassis: Chassis) -> None:
        """Connect to the daemon and put a virtio-fs device before it."""
        from stratovirt.core import check, ffi, lib
        from stratovirt.core.sockets import connected

        label = f"fs '{name}'"
        connection = connected(self.socket, f"the daemon of {label}", _START)
        config = ffi.new(
            "struct sv_fs_config *",
            {"connection": connection, "memory_fd": chassis.memory_fd, "tag": self.tag.encode()},
        )
        out = ffi.new("struct sv_virtio **")
        try:
            result = lib.sv_fs_create(chassis.core.handle, config, out)
        finally:
            posix.close(connection)
        if -result in _OF_THE_HOST:
            check(f"make {label}", result)
        check(f"agree with the daemon of {label}", result, _HINTS.get(-result, _HINT))
        chassis.place_mmio(label, out[0])


DEVICE = Fs
