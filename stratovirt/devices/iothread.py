"""I/O threads: serve the queues of the devices that name them."""

from __future__ import annotations

from stratovirt.devices.device import Device
from stratovirt.record import integers

CPU_MAX = 8191  # CONFIG_NR_CPUS of the largest kernels


class Iothread(Device):
    """A thread for devices; the name of the table is what their `iothread` says."""

    option = "iothread"
    objects = {"iothread": {}}  # noqa: RUF012
    label = "iothread"

    cpus: tuple[int, ...] = integers(
        "CPUs of the host that it may run on; all without it",
        default=(),
        minimum=0,
        maximum=CPU_MAX,
        on="none",
    )


DEVICE = Iothread
