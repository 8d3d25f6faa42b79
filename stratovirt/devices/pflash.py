"""PFlash: parallel flash that holds firmware code (unit 0) and its variables (unit 1)."""

from __future__ import annotations

from stratovirt.devices.device import Device
from stratovirt.record import flag, integer, path


class Pflash(Device):
    """A flash device; unit 0 is for code and should be read-only, unit 1 is for the firmware's data."""

    option = "pflash"
    id_key = ""  # named after the unit: code or data
    label = "pflash"

    file: str = path("Image on the host")
    unit: int = integer("0 for code, 1 for data", minimum=0, maximum=1)
    readonly: bool = flag("The guest may only read", default=False)

    @classmethod
    def complete(cls, name: str, data: dict[str, object]) -> str:
        """Name the table after the unit."""
        _ = name
        unit = data.get("unit")
        return "code" if unit == 0 else "data" if unit == 1 else f"unit-{unit}"


DEVICE = Pflash
