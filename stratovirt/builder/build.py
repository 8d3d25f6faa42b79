"""Builds a machine from its document, in the order in which a machine comes to life."""

from __future__ import annotations

from stratovirt import devices
from stratovirt.builder import memory
from stratovirt.core.vm import CoreVm
from stratovirt.errors import Naming
from stratovirt.machine import board as boards
from stratovirt.machine.chassis import Chassis
from stratovirt.machine.machine import Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.document.sections import Memory
    from stratovirt.document.vm import Vm
    from stratovirt.machine.board import Board


def build(document: Vm) -> Machine:
    """Build the machine; on any failure everything made so far is released."""
    board = _board(document)
    chassis = Chassis(CoreVm(), board)
    try:
        _listen_in(document, chassis)
        _confine_threads(document, chassis)
        with Naming("memory"):
            ram = memory.allocate(_memory(document), chassis)
        chassis.memory_fd = ram.fd
        chassis.core.describe_memory(page_size=ram.page_size, shared=ram.shared)
        offset = 0
        for gpa, size in board.memory_regions(document.memory.size):
            chassis.core.add_memory(gpa, ram.buffer, offset, size)
            offset += size
        board.create_interrupts(chassis)
        board.create_vcpus(chassis, document.cpu.count)
        board.create_ports(chassis)
        _realize(document, chassis)
        _add_spares(document, chassis)
        board.boot(chassis, document)
    except BaseException:
        chassis.close()
        raise
    return Machine(document, chassis)


def _memory(document: Vm) -> Memory:
    """Return the memory table; what another process has to map is shared, whatever the document says."""
    described = document.memory
    if described.share or not document.shares_memory():
        return described
    return described.replace(share=True)


def _listen_in(document: Vm, chassis: Chassis) -> None:
    """Have each step told in the log, and those of the guest's drivers, where its level asks for them."""
    if document.log is None:
        return
    from stratovirt import log

    if log.is_on("debug"):
        chassis.tell = log.debug
    if log.is_on("trace"):
        from stratovirt.machine import drivers  # noqa: F401 - later a file that cannot be read ended the machine

        chassis.core.trace()


def _board(document: Vm) -> Board:
    """Return the board; where there is none yet, say which devices wait for a later version too."""
    try:
        return boards.load(document.machine.arch, document.machine.type)
    except boards.NotBuiltError as error:
        from stratovirt.devices.device import Device

        waiting = [
            f"{device.label} '{name}'"
            for kind, name, device in document.devices()
            if kind != "iothread" and type(device).realize is Device.realize
        ]
        if not waiting:
            raise
        raise boards.NotBuiltError(f"{error}; neither can {', '.join(waiting)}", hint=error.hint) from None


def _confine_threads(document: Vm, chassis: Chassis) -> None:
    """See to it that no thread of the core begins with capabilities, or without its filter."""
    from stratovirt.sandbox import confinement

    confinement.confine_core_threads(chassis.core.handle, capabilities=document.process.keeps_capabilities())
    seccomp = document.process.seccomp
    if seccomp is not False:
        confinement.filter_core_threads(chassis.core.handle, log_only=seccomp == "log")
    if chassis.tell is not None:
        mode = " (log-only)" if seccomp == "log" else ""
        chassis.tell("filters: none" if seccomp is False else f"filters{mode}: {confinement.counts()}")


def _realize(document: Vm, chassis: Chassis) -> None:
    for name, thread in document.iothread.items():
        chassis.add_iothread(name, thread.cpus)
    for kind, name, device in document.devices():
        if kind != "iothread" and device.attached():
            with Naming(f"{device.label} '{name}'"):
                device.realize(name, chassis)


def _add_spares(document: Vm, chassis: Chassis) -> None:
    """Make the empty slots that QMP can fill: the guest finds all its devices when it boots."""
    if document.machine.type != "microvm":
        return
    for kind, record in devices.tables().items():
        if not record.spares:
            continue
        wanted = document.machine.__dict__[f"{kind}_slots"]
        there = sum(device.attached() for device in document.__dict__[kind].values())
        for number in range(there, record.spares if wanted is None else wanted):
            # What nobody asked for must not take the place of anything, nor make a start fail.
            if wanted is None and not chassis.has_room():
                return
            record.spare(f"slot {number}", chassis)
