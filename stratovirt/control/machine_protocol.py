"""What control asks of a machine. Types only: nothing of this exists at run time."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    from stratovirt.control.qmp.shelf import Slot
    from stratovirt.document.vm import Vm

    class MachineEvent(Protocol):
        """What a thread of the machine told; `kind` says which of the others means something."""

        @property
        def kind(self) -> str:
            """As machine/events.py says."""

        @property
        def cause(self) -> str:
            """Of a shutdown: poweroff, reset or triple-fault. Of an io-error: the host's word for it."""

        @property
        def text(self) -> str:
            """What happened, for a reader."""

        @property
        def device(self) -> str:
            """Of an io-error: the drive."""

        @property
        def operation(self) -> str:
            """Of an io-error: read, or what else the guest wanted."""

        @property
        def error(self) -> int:
            """Of an io-error: the errno."""

    class ServedMachine(Protocol):
        """A started machine."""

        @property
        def document(self) -> Vm:
            """What the machine was made from."""

        @property
        def status(self) -> str:
            """The run state, in QEMU's words."""

        @property
        def events_fd(self) -> int:
            """Readable while take_events() has something."""

        def pause(self) -> None:
            """Park the vCPUs; StateError when they do not run."""

        def resume(self) -> None:
            """Let the vCPUs run on; StateError when they are not paused."""

        def vcpu_threads(self) -> tuple[int, ...]:
            """Return the thread id of each vCPU."""

        def iothread_id(self, name: str) -> int:
            """Return the thread id of an I/O thread."""

        def take_events(self) -> Sequence[MachineEvent]:
            """Return what the machine's threads told since the last call."""

        def live(self, table: str, name: str = "") -> object | None:
            """Return what a device of a table lets commands do while it runs; None when there is none."""

        def slots(self, table: str) -> Mapping[str, Slot]:
            """Return the devices of a table whose backends can be replaced, in the order of the slots."""

        def feed_serial(self, data: bytes) -> int:
            """Give the serial port input; return how much it took. After less a serial-room event follows."""

        def close(self) -> None:
            """Stop every thread and release everything; harmless when done before."""
