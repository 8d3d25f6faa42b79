"""What spans several tables: references, places, names that must differ, combinations that cannot be.

Pure: looks at the document only, never at the host. Codes of the SV4 series are warnings, all others errors.
"""

from __future__ import annotations

from stratovirt import devices
from stratovirt.document import wires
from stratovirt.document.causes import unexplained
from stratovirt.document.wires import twice
from stratovirt.record import Problem
from stratovirt.units import GIB, KIB, MIB, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from stratovirt.document.vm import Vm
    from stratovirt.record import Path

    Check = Callable[[Vm], Iterator[Problem]]

MEMORY_MIN = 256 * MIB
MEMORY_MAX = 512 * GIB
MMIO_SLOTS = {"x86_64": 16, "aarch64": 32}
CONSOLES_MAX = 8  # Linux names them hvc0 to hvc7
IOTHREADS_MAX = 8
SOCKET_PATH_MAX = 107  # sun_path of <sys/un.h>, less the NUL
LIMIT_MIN, LIMIT_MAX = 64 * KIB, 1024 * GIB  # bytes each second of a disk
PORT_SUFFIX = len("_4294967295")  # of the sockets where a guest's vsock connections go
ROOT_BUS = "pcie.0"
_KERNEL, _MACHINE_TYPE = ("boot", "kernel"), ("machine", "type")


def crosscheck(vm: Vm, known: Collection[Problem] = ()) -> list[Problem]:
    """Return every problem that no single field shows, but for places of `known` problems.

    Neither is one told whose cause is known: a key that is missing since it was misspelt, say.
    """
    return unexplained((problem for check in _CHECKS for problem in check(vm)), known)


def is_told_at_start(problem: Problem) -> bool:
    """Tell whether a start says it too: what is without effect; a guest without a root may be meant."""
    return problem.warning and problem.code != "SV401"


def _memory(vm: Vm) -> Iterator[Problem]:
    size = vm.memory.size
    if not MEMORY_MIN <= size <= MEMORY_MAX:
        yield Problem("SV301", ("memory", "size"), f"memory is {format_size(size)}, not in 256M..512G")
    elif size % MIB:
        yield Problem("SV302", ("memory", "size"), f"memory is {size} bytes, not a multiple of 1M")


def _boot(vm: Vm) -> Iterator[Problem]:
    if vm.machine.type == "microvm" and vm.boot.kernel is None:
        yield Problem(
            "SV303", ("boot",), "a microvm needs a kernel", help="set `kernel` in [boot]", because=(_KERNEL,)
        )
    elif vm.boot.kernel is None:
        for key, what in (("initrd", "an initrd"), ("cmdline", "a kernel command line")):
            if vm.boot.__dict__[key] is not None:
                yield Problem(
                    "SV304",
                    ("boot", key),
                    f"{what} without a kernel has no use",
                    because=(_KERNEL,),
                )
    if vm.boot.initrd is None and not vm.drive:
        yield Problem(
            "SV401",
            ("boot",),
            "neither an initrd nor a drive: the guest has no root file system",
            because=(("boot", "initrd"), ("drive",)),
        )


def _buses(vm: Vm) -> Iterator[Problem]:
    wanted = "mmio" if vm.machine.type == "microvm" else "pci"
    for kind, name, device in vm.devices():
        path = _place(vm, kind, name)
        transport = device.transport()
        if not device.attached() or not transport or transport == wanted:
            continue
        if wanted == "mmio":
            yield Problem(
                "SV305",
                path,
                f"{device.label} '{name}' sits on PCI, and a microvm has none",
                because=(_MACHINE_TYPE,),
            )
        elif device.drivers:
            yield Problem(
                "SV306",
                path,
                f"{device.label} '{name}' needs `bus` and `addr`: a standard_vm has no virtio-mmio",
                because=(_MACHINE_TYPE,),
            )
    if vm.machine.type == "microvm":
        for name in vm.pflash:
            yield Problem(
                "SV305",
                ("pflash", name),
                "a microvm has no flash",
                help='set type = "standard_vm" in [machine]',
                because=(_MACHINE_TYPE,),
            )


def _slots(vm: Vm) -> Iterator[Problem]:
    taken = [
        (f"{kind}.{name}", _place(vm, kind, name))
        for kind, name, device in vm.devices()
        if device.attached() and device.transport() == "mmio"
    ]
    for kind, record in devices.tables().items():
        wanted = vm.machine.__dict__[f"{kind}_slots"] if record.spares else None
        there = sum(place[0] == kind for _name, place in taken)
        taken += [
            (f"an empty {record.label}", ("machine", f"{kind}_slots")) for _ in range(there, wanted or 0)
        ]
    limit = MMIO_SLOTS[vm.machine.arch]
    if vm.machine.type == "microvm" and len(taken) > limit:
        yield Problem(
            "SV307",
            taken[limit][1],
            f"{len(taken)} devices, and {vm.machine.arch} has {limit} virtio-mmio slots",
            help=f"slots are taken by {', '.join(name for name, _place in taken)}",
            because=(("machine", "arch"),),
        )


def _iothreads(vm: Vm) -> Iterator[Problem]:
    if len(vm.iothread) > IOTHREADS_MAX:
        yield Problem("SV308", ("iothread",), f"{len(vm.iothread)} iothreads, at most {IOTHREADS_MAX}")
    for kind, name, device in vm.devices():
        wanted = device.__dict__.get("iothread")
        if wanted is not None and wanted not in vm.iothread:
            yield Problem(
                "SV309",
                (*_place(vm, kind, name), "iothread"),
                f"{device.label} '{name}' names iothread '{wanted}', which is not described",
                help=f"known iothreads: {', '.join(vm.iothread) or 'none'}",
                because=(("iothread",),),
            )


def _pci(vm: Vm) -> Iterator[Problem]:
    if vm.machine.type == "microvm":
        return
    used: dict[tuple[str, str], str] = {}
    for kind, name, device in vm.devices():
        bus, addr = device.__dict__.get("bus"), device.__dict__.get("addr")
        if bus is None and addr is None:
            continue
        path = _place(vm, kind, name)
        if bus is None or addr is None:
            yield Problem("SV306", path, f"{device.label} '{name}' needs both `bus` and `addr`")
            continue
        if bus != ROOT_BUS and bus not in vm.root_port:
            known = ", ".join([ROOT_BUS, *vm.root_port])
            yield Problem(
                "SV310",
                (*path, "bus"),
                f"bus '{bus}' does not exist",
                help=f"known buses: {known}",
                because=(("root_port",),),
            )
        where = (bus, _normal_address(addr))
        if where in used:
            yield Problem("SV311", (*path, "addr"), f"{where[1]} on {bus} is taken by {used[where]}")
        used[where] = f"{kind}.{name}"


def _normal_address(addr: str) -> str:
    slot, _, function = addr.lower().replace("0x", "").partition(".")
    return f"{int(slot, 16):#x}.{int(function or '0', 16):#x}"


def _flash(vm: Vm) -> Iterator[Problem]:
    units: dict[int, str] = {}
    for name, flash in vm.pflash.items():
        if flash.unit in units:
            first = units[flash.unit]
            why = f"unit {flash.unit} is pflash.{first} already"
            cause = (("pflash", first), ("pflash", first, "unit"))
            yield Problem("SV312", ("pflash", name, "unit"), why, because=cause)
        units[flash.unit] = name


def _names(vm: Vm) -> Iterator[Problem]:
    """device_del and the like take one name space over all devices."""
    seen: dict[str, str] = {}
    for kind, name, _device in vm.devices():
        if kind in {"iothread", "pflash", "serial"}:
            continue
        if name in seen:
            yield Problem("SV313", _place(vm, kind, name), f"the id '{name}' is {seen[name]} already")
        seen.setdefault(name, f"{kind}.{name}")


def _consoles(vm: Vm) -> Iterator[Problem]:
    if len(vm.console) > CONSOLES_MAX:
        yield Problem("SV314", ("console",), f"{len(vm.console)} consoles, at most {CONSOLES_MAX}")


def _sockets(vm: Vm) -> Iterator[Problem]:
    paths: list[tuple[Path, str]] = [
        (("console", name, "path"), item.path) for name, item in vm.console.items()
    ]
    paths += [(("fs", name, "socket"), item.socket) for name, item in vm.fs.items()]
    if vm.qmp is not None:
        paths.insert(0, (("qmp", "socket"), vm.qmp.socket))
    if vm.vsock is not None and vm.vsock.socket is not None:
        paths.append((("vsock", "socket"), vm.vsock.socket))
    for where, path in paths:
        length = len(path.encode("utf-8", "surrogateescape"))
        limit = SOCKET_PATH_MAX - (PORT_SUFFIX if where[0] == "vsock" else 0)
        if length > limit:
            why = f"the socket path has {length} bytes, at most {limit}"
            yield Problem("SV315", where, why, help="put it into a folder with a shorter path")
    yield from twice(paths, "SV316", "the socket")


def _images(vm: Vm) -> Iterator[Problem]:
    drives = [(("drive", name, "file"), item.file) for name, item in vm.drive.items()]
    read_only = {
        item.file
        for item in vm.drive.values()
        if all(d.readonly for d in vm.drive.values() if d.file == item.file)
    }
    yield from twice((pair for pair in drives if pair[1] not in read_only), "SV317", "the image")


def _limits(vm: Vm) -> Iterator[Problem]:
    for name, drive in vm.drive.items():
        for key in ("bytes", "read_bytes", "write_bytes"):
            value = None if drive.limit is None else drive.limit.__dict__[key]
            if value is not None and not LIMIT_MIN <= value <= LIMIT_MAX:
                where = ("drive", name, "limit", key)
                yield Problem("SV324", where, f"{key} is {format_size(value)}, not in 64K..1024G")


def _process(vm: Vm) -> Iterator[Problem]:
    if not vm.process.daemonize:
        return
    if vm.serial is not None and vm.serial.backend == "stdio":
        yield Problem("SV322", ("serial",), "a daemon has no stdio for its serial port")
    if vm.log is not None and vm.log.file is None:
        yield Problem("SV323", ("log",), "a daemon has no stdio for its log", help="name a file")


def _unattached(vm: Vm) -> Iterator[Problem]:
    for kind, name, device in vm.devices():
        if not device.attached():
            yield Problem(
                "SV404", _place(vm, kind, name), f"{device.label} '{name}' is described and not attached"
            )


def _place(vm: Vm, kind: str, name: str) -> Path:
    return (kind, name) if isinstance(vm.__dict__[kind], dict) else (kind,)


_CHECKS: tuple[Check, ...] = (
    _memory,
    _boot,
    _buses,
    _slots,
    _iothreads,
    _pci,
    _flash,
    _names,
    _consoles,
    _sockets,
    _images,
    _limits,
    *wires.CHECKS,
    _process,
    _unattached,
)
