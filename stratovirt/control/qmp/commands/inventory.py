"""The queries by which a program finds out what a machine has, in QEMU's shapes."""

from __future__ import annotations

from stratovirt.control.qmp.commands.hotplug import DRIVERS
from stratovirt.control.qmp.registry import Nothing, command, shortened
from stratovirt.errors import QmpError
from stratovirt.record import Record, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stratovirt.control.qmp.registry import Target

# QEMU's word for a limit, and the field of [drive.NAME.limit]; `iops` stands beside them, in [drive.NAME].
_LIMITS = {
    "bps": "bytes",
    "bps_rd": "read_bytes",
    "bps_wr": "write_bytes",
    "iops_rd": "read_ops",
    "iops_wr": "write_ops",
}

# Queries whose answer is always that there is none.
_NONE = {
    "query-acpi-ospm-status": "List ACPI hotplug slots; there are none.",
    "query-block-exports": "List exported images; there are none.",
    "query-block-jobs": "List jobs on images; there are none.",
    "query-fdsets": "List sets of descriptors; there are none: see getfd.",
    "query-jobs": "List jobs; there are none.",
    "query-memory-devices": "List memory devices; there are none.",
    "query-mice": "List mice; there are none.",
    "query-pci": "List PCI buses; a microvm has none.",
    "query-tpm-models": "List TPM models; there are none.",
    "query-tpm-types": "List TPM backends; there are none.",
}


def _declare_empty(name: str, doc: str) -> None:
    def none(_target: Target, _arguments: Nothing) -> object:
        return []

    none.__doc__ = doc
    command(name, Nothing)(none)


for _name, _doc in _NONE.items():
    _declare_empty(_name, _doc)


@command("query-target", Nothing)
def query_target(target: Target, _arguments: Nothing) -> object:
    """Tell the architecture of the guest."""
    return {"arch": target.machine.document.machine.arch}


@command("query-uuid", Nothing)
def query_uuid(target: Target, _arguments: Nothing) -> object:
    """Tell the UUID of the machine; zeroes when it has none."""
    return {"UUID": target.machine.document.uuid or "00000000-0000-0000-0000-000000000000"}


@command("query-machines", Nothing)
def query_machines(target: Target, _arguments: Nothing) -> object:
    """List the machine types."""
    document = target.machine.document
    return [
        {
            "cpu-max": document.cpu.fields["count"].maximum,
            "default-ram-id": "ram",
            "deprecated": False,
            "hotpluggable-cpus": False,
            "name": name,
            "numa-mem-supported": False,
        }
        for name in document.machine.fields["type"].choices
    ]


@command("query-current-machine", Nothing)
def query_current_machine(_target: Target, _arguments: Nothing) -> object:
    """Tell what the machine can do: it cannot be woken, for it never sleeps."""
    return {"wakeup-suspend-support": False}


@command("query-cpu-definitions", Nothing)
def query_cpu_definitions(_target: Target, _arguments: Nothing) -> object:
    """List the models of vCPUs: what the host has."""
    return [
        {"deprecated": False, "migration-safe": False, "name": "host", "static": False, "typename": "host"}
    ]


@command("query-memory-size-summary", Nothing)
def query_memory_size_summary(target: Target, _arguments: Nothing) -> object:
    """Tell how much memory the machine was started with."""
    return {"base-memory": target.machine.document.memory.size, "plugged-memory": 0}


@command("query-memdev", Nothing)
def query_memdev(target: Target, _arguments: Nothing) -> object:
    """List the backends of guest memory; there is one."""
    document = target.machine.document
    memory = document.memory
    return [
        {
            "dump": memory.dump_guest_core,
            "host-nodes": [],
            "id": "ram",
            "merge": False,
            "policy": "default",
            "prealloc": bool(memory.__dict__.get("prealloc", False)),
            "share": document.shares_memory(),
            "size": memory.size,
        }
    ]


@command("query-iothreads", Nothing)
def query_iothreads(target: Target, _arguments: Nothing) -> object:
    """List the I/O threads that have names; 0 is a thread whose id nobody knows."""
    return [
        {
            "aio-max-batch": 0,
            "id": name,
            "poll-grow": 0,
            "poll-max-ns": 0,
            "poll-shrink": 0,
            "thread-id": target.machine.iothread_id(name),
        }
        for name in target.machine.document.iothread
    ]


@command("query-chardev", Nothing)
def query_chardev(target: Target, _arguments: Nothing) -> object:
    """List the character devices: serial port, consoles, this connection."""
    document = target.machine.document
    found = [] if document.serial is None else [("serial0", "stdio")]
    found += [(name, f"unix:{item.path},server=on") for name, item in document.console.items()]
    if document.qmp is not None:
        found.append(("compat_monitor0", f"unix:{document.qmp.socket},server=on"))
    return [{"filename": filename, "frontend-open": True, "label": label} for label, filename in found]


@command("query-block", Nothing)
def query_block(target: Target, _arguments: Nothing) -> object:
    """List the disks with their images, empty slots too."""
    return [
        {
            "device": name,
            "locked": False,
            "qdev": f"/machine/peripheral/{name}",
            "removable": True,
            "type": "unknown",
        }
        | ({} if held is None else {"io-status": "ok", "inserted": _inserted(target, name, slot, held)})
        for name, slot, held in _disks(target)
    ]


class Flat(Record):
    """The arguments of `query-named-block-nodes`."""

    flat: bool = flag("Without effect: no image has another one behind it", default=False)


@command("query-named-block-nodes", Flat)
def query_named_block_nodes(target: Target, _arguments: Flat) -> object:
    """List the images in use."""
    return [_inserted(target, name, slot, held) for name, slot, held in _disks(target) if held is not None]


def _disks(target: Target) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Return what each disk is called, the slot that it is in, and its image, None in an empty slot."""
    return [
        (target.name_in("drive", slot), slot, disk.info())
        for slot, disk in target.machine.slots("drive").items()
    ]


def _limits(target: Target, slot: str) -> dict[str, int]:
    """Return what a disk may do each second, 0 for as much as it can: of the slot, whatever is in it."""
    drive = target.machine.document.drive.get(slot)
    limit = None if drive is None else drive.limit
    found: dict[str, int] = {word: getattr(limit, field, None) or 0 for word, field in _LIMITS.items()}
    return found | {"iops": 0 if drive is None else drive.iops or 0}


def _inserted(target: Target, name: str, slot: str, held: dict[str, Any]) -> dict[str, object]:
    image = {
        "dirty-flag": False,
        "filename": held["file"],
        "format": "raw",
        "virtual-size": held.get("size", 0),
    }
    return {
        "backing_file_depth": 0,
        "cache": {"direct": held.get("direct", False), "no-flush": False, "writeback": True},
        "detect_zeroes": "off",
        "drv": "raw",
        "encrypted": False,
        "file": held["file"],
        "image": image,
        "node-name": name,
        "ro": held.get("readonly", False),
        "write_threshold": 0,
        **_limits(target, slot),
    }


def _contract() -> dict[str, Any]:
    """Return what the generated contract says of flags and drivers: their records are not ours to import."""
    from stratovirt.control.qmp import json_text
    from stratovirt.paths import room

    with open(f"{room('compat')}/flags.json", "rb") as file:
        contract = json_text.parse(file.read())
    assert isinstance(contract, dict)
    return contract


class OptionName(Record):
    """The arguments of `query-command-line-options`."""

    option: str | None = text("Name of a flag; all without it", default=None)


@command("query-command-line-options", OptionName)
def query_command_line_options(_target: Target, arguments: OptionName) -> object:
    """List the flags that take keys, with their keys."""
    found = [
        {
            "option": name.removeprefix("-"),
            "parameters": [
                {"help": about.get("doc", ""), "name": key, "type": "string"}
                for key, about in about_flag.get("keys", {}).items()
            ],
        }
        for name, about_flag in _contract()["flags"].items()
        if about_flag.get("keys")
    ]
    if arguments.option is None:
        return found
    wanted = [item for item in found if item["option"] == arguments.option]
    if not wanted:
        raise QmpError(f"there is no flag '{shortened(arguments.option)}' that takes keys")
    return wanted


def _drivers() -> dict[str, Any]:
    """Return the drivers of -device, and those of device_add, which are the same under another name."""
    drivers: dict[str, Any] = dict(_contract()["drivers"])
    for name in DRIVERS:
        if name not in drivers:
            drivers[name] = drivers[f"{name.removesuffix('mmio')}device"]
    return drivers


class TypesWanted(Record):
    """The arguments of `qom-list-types`."""

    implements: str | None = text("Only this driver; `device` is every one", default=None)
    abstract: bool = flag("Without effect: none is abstract", default=False)


@command("qom-list-types", TypesWanted)
def qom_list_types(_target: Target, arguments: TypesWanted) -> object:
    """List the drivers of devices."""
    wanted = {None, "device", "object"}
    return [
        {"name": name, "parent": "device"}
        for name in _drivers()
        if arguments.implements in wanted or arguments.implements == name
    ]


class TypeName(Record):
    """The arguments of `device-list-properties`."""

    typename: str = text("Name of a driver")


@command("device-list-properties", TypeName)
def device_list_properties(_target: Target, arguments: TypeName) -> object:
    """List the keys of a driver."""
    drivers = _drivers()
    if arguments.typename not in drivers:
        raise QmpError(f"Device '{arguments.typename}' not found", "DeviceNotFound")
    return [
        {"description": about.get("doc", ""), "name": key, "type": "str"}
        for key, about in drivers[arguments.typename].get("keys", {}).items()
    ]
