"""virtio-vsock: sockets between guest and host (VIRTIO 1.2, 5.10)."""

from __future__ import annotations

from stratovirt.devices.device import VirtioDevice
from stratovirt.record import integer, text


class Vsock(VirtioDevice):
    """The one vsock device of a machine."""

    named = False
    drivers = {"vhost-vsock-device": "mmio", "vhost-vsock-pci": "pci"}  # noqa: RUF012
    label = "vsock"

    id: str = text("Name of the device", pattern="name", default="vsock", on="device")
    guest_cid: int = integer(
        "Context id of the guest, unique on the host", minimum=3, maximum=0xFFFF_FFFE, on="device"
    )
    vhostfd: int | None = integer(
        "Open /dev/vhost-vsock descriptor to use", default=None, minimum=0, on="device"
    )


DEVICE = Vsock
