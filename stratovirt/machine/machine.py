"""Machine: the running thing and its run states."""

from __future__ import annotations

from stratovirt.errors import StateError, StratovirtError
from stratovirt.machine.events import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stratovirt.document.vm import Vm
    from stratovirt.machine.chassis import Chassis
    from stratovirt.machine.events import Event

# A vCPU parks within microseconds; a host that cannot schedule it for this long is in trouble.
PARK_TIMEOUT_MS = 1000


class Machine:
    """A machine that the builder has finished. `status` uses QEMU's RunState words."""

    def __init__(self, document: Vm, chassis: Chassis) -> None:
        self.document = document
        self.status = "prelaunch"
        self._chassis = chassis
        self._core = chassis.core

    def start(self) -> None:
        """Start the vCPUs, or park them when the document says freeze."""
        frozen = self.document.process.freeze
        self._core.start_vcpus(parked=frozen)
        # What can only be made now, and not once there are filters; the guest need not wait for it.
        self._core.hand_over_notifications()
        for item in self._chassis.live.values():
            prepare = getattr(item, "prepare", None)
            if prepare is not None:
                prepare()
        self.status = "paused" if frozen else "running"
        if self._chassis.tell is not None:
            self._chassis.tell(f"vCPUs: threads {', '.join(map(str, self.vcpu_threads()))}, {self.status}")

    def pause(self) -> None:
        """Stop the vCPUs; each is parked on return."""
        if self.status != "running":
            raise StateError(
                f"the machine is {self.status}, not running", hint="only a running machine can be stopped"
            )
        if not self._core.pause(PARK_TIMEOUT_MS):
            self._core.resume()
            raise StratovirtError(f"a vCPU did not stop within {PARK_TIMEOUT_MS} ms", hint="try again")
        self.status = "paused"

    def resume(self) -> None:
        """Let the vCPUs run on."""
        if self.status != "paused":
            raise StateError(
                f"the machine is {self.status}, not paused", hint="only a paused machine can continue"
            )
        self._core.resume()
        self.status = "running"

    def vcpu_threads(self) -> tuple[int, ...]:
        """Return the thread id of each vCPU."""
        return self._core.vcpu_threads()

    def iothread_id(self, name: str) -> int:
        """Return the thread id of an I/O thread."""
        return self._chassis.iothread_id(name)

    @property
    def events_fd(self) -> int:
        """A descriptor that is readable while take_events() has something."""
        return self._core.events_fd

    def take_events(self) -> list[Event]:
        """Return what the core's threads told since the last call; the run state follows them."""
        chassis = self._chassis
        events = [
            decode(*words, chassis.device_names, chassis.drive_names) for words in self._core.take_events()
        ]
        for event in events:
            if event.kind == "shutdown":
                self.status = "shutdown"
            elif event.kind == "vcpu-failed":
                self.status = "internal-error"
        return events

    def live(self, table: str, name: str = "") -> object | None:
        """Return what realize() left for commands to use; without a name, of the one device of the table."""
        for (kind, known), item in self._chassis.live.items():
            if kind == table and name in {"", known}:
                return item
        return None

    def slots(self, table: str) -> dict[str, Any]:
        """Return the devices of a table whose backends can be replaced, in the order of the slots."""
        return {
            name: item
            for (kind, name), item in self._chassis.live.items()
            if kind == table and hasattr(item, "plug")
        }

    def feed_serial(self, data: bytes) -> int:
        """Give the serial port input; return how many bytes it took. A serial-room event may follow."""
        feed = self._chassis.feed_serial
        return len(data) if feed is None else feed(data)

    def close(self) -> None:
        """Stop every thread and release everything."""
        self._chassis.close()
