"""Boards: what a machine type always has, and where. Each architecture has a room of its own."""

from __future__ import annotations

import posix

from stratovirt.errors import StratovirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from stratovirt.document.vm import Vm
    from stratovirt.machine.chassis import Chassis

    class Board(Protocol):
        """What an architecture's room provides."""

        mmio_windows: tuple[tuple[int, int], ...]

        def memory_regions(self, size: int) -> tuple[tuple[int, int], ...]:
            """Return guest address and size of each piece of RAM."""

        def create_interrupts(self, chassis: Chassis) -> None:
            """Make the interrupt controllers; before vCPUs and devices."""

        def create_vcpus(self, chassis: Chassis, count: int) -> None:
            """Make the vCPUs with what they tell about themselves."""

        def create_ports(self, chassis: Chassis) -> None:
            """Make what is always on the board."""

        def create_serial(self, chassis: Chassis, out_fd: int) -> Callable[[bytes], int]:
            """Make the serial port, which transmits to a descriptor; return what gives it input.

            The number of bytes that it took comes back; a serial-room event follows when it took less.
            """

        def boot(self, chassis: Chassis, document: Vm) -> None:
            """Load what the guest starts and point vCPU 0 at it."""


class NotBuiltError(StratovirtError):
    """The document describes what this version cannot run yet."""


def load(architecture: str, machine_type: str) -> Board:
    """Return the board, or say why this host or this version cannot be it."""
    host = posix.uname().machine
    if not _has_machines(architecture):
        raise NotBuiltError(
            f"no machine of {architecture} can be run by this version: none is built yet",
            hint="`stratovirt check`, `translate` and `show` take it already; microvm on x86_64 runs",
        )
    if architecture != host:
        other = f', or set arch = "{host}" in [machine]' if _has_machines(host) else ""
        raise StratovirtError(
            f"the machine is {architecture} and this host is {host}",
            hint=f"run it on an {architecture} host{other}",
        )
    try:
        module = __import__(f"stratovirt.machine.{architecture}.{machine_type}", fromlist=["BOARD"])
    except ModuleNotFoundError as error:
        raise NotBuiltError(
            f"machine type '{machine_type}' on {architecture} cannot be run by this version",
            hint="`stratovirt check` accepts it already; microvm on x86_64 runs",
        ) from error
    board: Board = module.BOARD()
    return board


def _has_machines(architecture: str) -> bool:
    try:
        __import__(f"stratovirt.machine.{architecture}")
    except ModuleNotFoundError:
        return False
    return True
