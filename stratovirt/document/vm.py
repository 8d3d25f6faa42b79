"""Vm: the root record of the canonical document.

The device tables are whatever stratovirt/devices holds; everything else is described here and in sections.py.
"""

from __future__ import annotations

from stratovirt import devices
from stratovirt.document.sections import Boot, Cpu, Log, MachineTable, Memory, Process, Qmp
from stratovirt.record import Field, Record, integer, table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratovirt.devices.balloon import Balloon
    from stratovirt.devices.console import Console
    from stratovirt.devices.device import Device
    from stratovirt.devices.drive import Drive
    from stratovirt.devices.fs import Fs
    from stratovirt.devices.iothread import Iothread
    from stratovirt.devices.net import Net
    from stratovirt.devices.pflash import Pflash
    from stratovirt.devices.rng import Rng
    from stratovirt.devices.root_port import RootPort
    from stratovirt.devices.serial import Serial
    from stratovirt.devices.vsock import Vsock

VERSION = 1


class _Sections(Record):
    """The tables that every machine has."""

    version: int = integer(
        "Version of the document format; this program reads 1", minimum=VERSION, maximum=VERSION
    )
    name: str | None = text("Name of the machine", max_length=255, pattern="line", default=None)
    uuid: str | None = text("Its UUID, which query-uuid tells", pattern="uuid", default=None)
    machine: MachineTable = table("Kind of machine", MachineTable)
    cpu: Cpu = table("Virtual CPUs", Cpu)
    memory: Memory = table("Memory of the guest", Memory)
    boot: Boot = table("What the guest starts", Boot)
    qmp: Qmp | None = table("Management socket", Qmp)
    log: Log | None = table("Log of the process; without a file it goes to stderr", Log)
    process: Process = table("How the process itself runs", Process)


class Vm(_Sections):
    """A virtual machine."""

    # The fields themselves are added below, from the device modules.
    if TYPE_CHECKING:
        drive: dict[str, Drive] = {}
        net: dict[str, Net] = {}
        console: dict[str, Console] = {}
        fs: dict[str, Fs] = {}
        vsock: Vsock | None = None
        balloon: Balloon | None = None
        rng: Rng | None = None
        serial: Serial | None = None
        pflash: dict[str, Pflash] = {}
        root_port: dict[str, RootPort] = {}
        iothread: dict[str, Iothread] = {}

    def devices(self) -> Iterator[tuple[str, str, Device]]:
        """Yield table, name and record of each device; a lone table is named by its id or its table."""
        for kind in devices.tables():
            value = self.__dict__[kind]
            if isinstance(value, dict):
                for name, device in value.items():
                    yield kind, name, device
            elif value is not None:
                yield kind, value.__dict__.get("id", kind), value

    def shares_memory(self) -> bool:
        """Tell whether another process can map guest memory: where it is asked for, or a device needs it."""
        return self.memory.share or any(
            device.shares_memory and device.attached() for _, _, device in self.devices()
        )


def _add_device_tables() -> None:
    fields = dict(Vm.fields)
    for name, record in devices.tables().items():
        field = Field(
            "tables" if record.named else "table", record.__doc__ or "", {"default": None, "record": record}
        )
        field.name = name
        fields[name] = field
    Vm.fields = fields


_add_device_tables()
