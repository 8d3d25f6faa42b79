"""I/O threads: serve the queues of the devices that name them."""

from __future__ import annotations

from stratovirt.devices.device import Device


class Iothread(Device):
    """A thread for devices; the name of the table is what their `iothread` says."""

    option = "iothread"
    label = "iothread"


DEVICE = Iothread
