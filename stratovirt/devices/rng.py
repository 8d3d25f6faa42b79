"""virtio-rng: the entropy device (VIRTIO 1.2, 5.4)."""

from __future__ import annotations

from stratovirt.devices.device import Device
from stratovirt.record import integer, path, text


class Rng(Device):
    """The one entropy device of a machine."""

    named = False
    option = "rng"
    label = "rng"

    id: str = text("Name of the device", pattern="name", default="rng")
    file: str = path("Character device on the host that the bytes come from", key="random_file")
    bytes_per_sec: int | None = integer(
        "Bytes each second at most", default=None, minimum=64, maximum=999_999_999, key="bytes_per_sec"
    )

    def transport(self) -> str:
        """Return "mmio": the legacy flag has no other."""
        return "mmio"


DEVICE = Rng
