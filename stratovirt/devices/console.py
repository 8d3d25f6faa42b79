"""virtio-console: /dev/hvc0 to /dev/hvc7 in the guest, Unix sockets on the host (VIRTIO 1.2, 5.3)."""

from __future__ import annotations

from stratovirt.devices.device import Device
from stratovirt.record import path


class Console(Device):
    """A console; its host side is a Unix socket that listens."""

    option = "chardev"
    label = "console"

    path: str = path("Socket on the host", key="path")

    def transport(self) -> str:
        """Return "mmio": the legacy flag has no other."""
        return "mmio"


DEVICE = Console
