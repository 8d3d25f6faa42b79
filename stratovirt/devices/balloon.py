"""virtio-balloon: memory that the guest gives back (VIRTIO 1.2, 5.5)."""

from __future__ import annotations

from stratovirt.devices.device import VirtioDevice
from stratovirt.record import flag, text


class Balloon(VirtioDevice):
    """The one balloon of a machine."""

    named = False
    drivers = {"virtio-balloon-device": "mmio", "virtio-balloon-pci": "pci"}  # noqa: RUF012
    label = "balloon"

    id: str = text("Name of the device", pattern="name", default="balloon", on="device")
    deflate_on_oom: bool = flag("Deflate when the guest runs out of memory", default=False, on="device")


DEVICE = Balloon
