"""The tables of the document that are no devices."""

from __future__ import annotations

from stratovirt.log import LEVELS
from stratovirt.record import Record, choice, flag, integer, path, size, switch, text
from stratovirt.units import MIB

ARCHITECTURES = ("x86_64", "aarch64")
MACHINE_TYPES = ("microvm", "standard_vm")


class MachineTable(Record):
    """Kind of machine."""

    implied = True

    type: str = choice(
        "microvm has virtio-mmio devices only; standard_vm has PCI Express", MACHINE_TYPES, default="microvm"
    )
    arch: str = choice("Processor architecture of guest and host", ARCHITECTURES, default="x86_64")
    drive_slots: int | None = integer(
        "Disks of a microvm, empty ones for QMP to fill included; 4 as far as there is room without it",
        default=None,
        minimum=0,
        maximum=32,
    )
    net_slots: int | None = integer(
        "Network cards of a microvm, empty ones included; 2 as far as there is room without it",
        default=None,
        minimum=0,
        maximum=32,
    )


class Cpu(Record):
    """Virtual CPUs."""

    implied = True

    count: int = integer("How many there are", default=1, minimum=1, maximum=254)


class Memory(Record):
    """Memory of the guest."""

    implied = True

    size: int = size("How much, 256M to 512G", default=256 * MIB)
    path: str | None = path(
        "File or folder on the host that backs it, hugetlbfs too", pattern="absolute", default=None
    )
    share: bool = flag("Other processes can map it", default=False)
    dump_guest_core: bool = flag("A core file of the process holds it", default=True)
    prealloc: bool = flag("The host finds every page before the guest starts", default=False)
    transparent_hugepages: bool = flag(
        "Ask the host for transparent huge pages; without effect on hugetlbfs", default=False
    )


class Boot(Record):
    """What the guest starts."""

    implied = True

    kernel: str | None = path("Linux kernel: bzImage, ELF vmlinux or PE image", default=None)
    initrd: str | None = path("Initial RAM disk", default=None)
    cmdline: str | None = text("Kernel command line", pattern="line", default=None, undecoded=True)


class Qmp(Record):
    """Management socket."""

    socket: str = path("Unix socket that listens for QMP")


class Log(Record):
    """Log of the process."""

    file: str | None = path("File that is appended to; stderr without one", default=None)
    level: str = choice(
        "Least severe level that is written; $STRATOVIRT_LOG_LEVEL wins", LEVELS, default="error"
    )
    format: str = choice(
        "text is the original's shape, json one object a line", ("text", "json"), default="text"
    )


class Process(Record):
    """How the process itself runs."""

    implied = True

    freeze: bool = flag("Start with the vCPUs paused", default=False)
    daemonize: bool = flag("Run in the background", default=False)
    pidfile: str | None = path("File that holds the process id", default=None)
    seccomp: str | bool = switch(
        "Filter the system calls of the process; log only tells what it would forbid", ("log",), default=True
    )
    capabilities: str = choice(
        "What a process that root starts does with its capabilities once the machine is made",
        ("drop", "keep"),
        default="drop",
    )

    def keeps_capabilities(self) -> bool:
        """Tell whether the process keeps what it could do at its start."""
        return self.capabilities == "keep"
