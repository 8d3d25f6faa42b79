"""The serial port: a 16550 that is /dev/ttyS0 in the guest."""

from __future__ import annotations

from stratovirt.devices.device import Device
from stratovirt.record import choice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.machine.chassis import Chassis

STDOUT = 1


class Serial(Device):
    """The one serial port of a machine."""

    named = False
    option = "serial"
    word = "backend"
    label = "serial port"

    backend: str = choice("Where the other end is", ("stdio",), default="stdio")

    def realize(self, name: str, chassis: Chassis) -> None:
        """Put the port on the board; what it transmits goes straight to standard output."""
        _ = name
        chassis.place_serial(STDOUT)


DEVICE = Serial
