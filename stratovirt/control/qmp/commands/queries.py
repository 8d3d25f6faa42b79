"""The commands that only tell. Keys stand in the order of the original: alphabetical, upper case first."""

from __future__ import annotations

from stratovirt.control.qmp.registry import COMMANDS, Nothing, command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratovirt.control.qmp.registry import Target

# Guidebook, 3.2. Clients compare it, so it is not the version of this program. Libraries that are written for
# QEMU's QMP look for `qemu`, some for 5.0 or more, which is what later releases of the original say.
VERSION = {
    "StratoVirt": {"micro": 1, "minor": 0, "major": 0},
    "package": "",
    "qemu": {"micro": 1, "minor": 0, "major": 5},
}
_ARCH_OF_QUERY_CPUS = {"x86_64": "x86", "aarch64": "arm"}  # QEMU's CpuInfoArch


@command("query-status", Nothing)
def query_status(target: Target, _arguments: Nothing) -> object:
    """Tell the run state."""
    status = target.machine.status
    return {"running": status == "running", "singlestep": False, "status": status}


@command("query-version", Nothing)
def query_version(_target: Target, _arguments: Nothing) -> object:
    """Tell the version, as in the greeting."""
    return VERSION


@command("query-commands", Nothing)
def query_commands(_target: Target, _arguments: Nothing) -> object:
    """List the commands."""
    return [{"name": name} for name in COMMANDS]


@command("query-cpus", Nothing)
def query_cpus(target: Target, _arguments: Nothing) -> object:
    """List the vCPUs with their threads, as QEMU did before 6.0."""
    arch = target.machine.document.machine.arch
    return [
        {
            "CPU": index,
            "arch": _ARCH_OF_QUERY_CPUS[arch],
            "current": True,
            "halted": False,
            "props": _place(index),
            "qom_path": _qom_path(index),
            "thread_id": thread,
        }
        for index, thread in _vcpus(target)
    ]


@command("query-cpus-fast", Nothing)
def query_cpus_fast(target: Target, _arguments: Nothing) -> object:
    """List the vCPUs with their threads."""
    arch = target.machine.document.machine.arch
    return [
        {
            "cpu-index": index,
            "props": _place(index),
            "qom-path": _qom_path(index),
            "target": arch,
            "thread-id": thread,
        }
        for index, thread in _vcpus(target)
    ]


@command("query-hotpluggable-cpus", Nothing)
def query_hotpluggable_cpus(target: Target, _arguments: Nothing) -> object:
    """List the places of vCPUs; all are taken."""
    document = target.machine.document
    return [
        {
            "props": _place(index),
            "qom-path": _qom_path(index),
            "type": f"host-{_ARCH_OF_TYPE[document.machine.arch]}-cpu",
            "vcpus-count": 1,
        }
        for index in range(document.cpu.count)
    ]


@command("query-name", Nothing)
def query_name(target: Target, _arguments: Nothing) -> object:
    """Tell the name of the machine, if it has one."""
    name = target.machine.document.name
    return {} if name is None else {"name": name}


@command("query-kvm", Nothing)
def query_kvm(_target: Target, _arguments: Nothing) -> object:
    """Tell that KVM runs the machine."""
    return {"enabled": True, "present": True}


_ARCH_OF_TYPE = {"x86_64": "x86", "aarch64": "aarch64"}


def _vcpus(target: Target) -> Iterator[tuple[int, int]]:
    return enumerate(target.machine.vcpu_threads())


def _place(index: int) -> dict[str, int]:
    """Return where a vCPU sits: each in a socket of its own."""
    return {"core-id": 0, "socket-id": index, "thread-id": 0}


def _qom_path(index: int) -> str:
    return f"/machine/unattached/device[{index}]"
