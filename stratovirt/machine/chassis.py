"""Chassis: a machine while devices are put into it, and what it has to release at the end."""

from __future__ import annotations

import posix

from stratovirt.core import check, ffi, lib
from stratovirt.errors import DocumentError, HostError, StratovirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.core._core import CData
    from stratovirt.core.vm import CoreVm
    from stratovirt.machine.board import Board


class Chassis:
    """What a device's realize() gets: the core, places for virtio-mmio windows, I/O threads by name."""

    def __init__(self, core: CoreVm, board: Board) -> None:
        self.core = core
        self.board = board
        self.feed_serial: Callable[[bytes], int] | None = None  # of the serial port, once there is one
        # The log, when somebody wants to know what each step made.
        self.tell: Callable[[str], None] | None = None
        self.windows: list[tuple[int, int]] = []  # base and GSI of each virtio-mmio window, in order
        self.device_names: dict[int, str] = {}
        self.drive_names: dict[int, str] = {}  # what QMP calls the disk of that number
        self.live: dict[tuple[str, str], object] = {}  # what QMP can ask of a device, by table and name
        self.memory_fd = -1  # the file that all guest memory is, where another process can map it
        self._iothreads: dict[str, CData] = {}
        self._fds: list[int] = []
        self._at_close: list[Callable[[], None]] = []

    def close(self) -> None:
        """Release everything, the core's threads first; the last of what cannot be released is raised."""
        self.core.close()
        while self._fds:
            posix.close(self._fds.pop())
        failure: StratovirtError | None = None
        while self._at_close:
            try:
                self._at_close.pop()()
            except StratovirtError as error:
                failure = error
        if failure is not None:
            raise failure

    def at_close(self, release: Callable[[], None]) -> None:
        """Have close() call this, after the core's threads have ended; the newest goes first."""
        self._at_close.append(release)

    def keep_fd(self, fd: int) -> int:
        """Own a descriptor until close()."""
        self._fds.append(fd)
        return fd

    def add_iothread(self, name: str, cpus: tuple[int, ...] = ()) -> None:
        """Start an I/O thread that devices can name, on some of the host's CPUs or on all."""
        out = ffi.new("struct sv_iothread **")
        check(f"start iothread '{name}'", lib.sv_iothread_create(self.core.handle, name.encode()[:15], out))
        self._iothreads[name] = out[0]
        if self.tell is not None:
            where = f"CPUs {', '.join(map(str, cpus))}" if cpus else "any CPU"
            self.tell(f"iothread '{name}': thread {self.iothread_id(name)}, {where}")
        if not cpus:
            return
        try:
            posix.sched_setaffinity(lib.sv_iothread_tid(out[0]), cpus)
        except OSError as error:
            words = ", ".join(map(str, cpus))
            known = ", ".join(map(str, sorted(posix.sched_getaffinity(0))))
            raise HostError(
                f"put iothread '{name}' on CPUs {words}", error, hint=f"this process may use CPUs {known}"
            ) from error

    def iothread(self, name: str | None) -> CData:
        """Return the thread of that name, or NULL for the main one."""
        return ffi.NULL if name is None else self._iothreads[name]

    def iothread_id(self, name: str) -> int:
        """Return the thread id of the I/O thread of that name."""
        return check(f"find iothread '{name}'", lib.sv_iothread_tid(self._iothreads[name]))

    def has_room(self) -> bool:
        """Tell whether a virtio-mmio window is free."""
        return len(self.windows) < len(self.board.mmio_windows)

    def place_mmio(self, label: str, device: CData) -> None:
        """Put a virtio device behind the next free virtio-mmio window."""
        places = self.board.mmio_windows
        if len(self.windows) == len(places):
            raise DocumentError(
                f"{label} does not fit: this board has {len(places)} virtio-mmio slots",
                hint=f"slots are taken by {', '.join(self.device_names.values())}",
            )
        base, gsi = places[len(self.windows)]
        check(f"place {label}", lib.sv_mmio_place(self.core.handle, device, base, gsi))
        self.windows.append((base, gsi))
        self.device_names[lib.sv_virtio_id(device)] = label
        if self.tell is not None:
            self.tell(f"{label}: virtio-mmio at {base:#x}, interrupt {gsi}")

    def place_serial(self, out_fd: int) -> None:
        """Put the serial port at its place on the board."""
        self.feed_serial = self.board.create_serial(self, out_fd)
