"""PCI Express root port: a bridge to a bus of its own (PCI Express base spec, 1.3)."""

from __future__ import annotations

from stratovirt.devices.device import Device
from stratovirt.record import integer, text


class RootPort(Device):
    """A root port; the name of the table is the name of the bus behind it."""

    drivers = {"pcie-root-port": "pci"}  # noqa: RUF012
    hexadecimal = ("port",)
    label = "root port"

    port: int = integer("Port number", minimum=0, maximum=255, on="device")
    bus: str = text("Bus that the port sits on", pattern="name", on="device")
    addr: str = text("Slot and function on the bus, in hexadecimal", pattern="pci", on="device")

    def transport(self) -> str:
        """Return "pci"."""
        return "pci"


DEVICE = RootPort
