"""Events: what a connected client is told without asking. Each is a record of its data."""

from __future__ import annotations

from time import time_ns

from stratovirt.record import Record, choice, flag, text

REASONS = ("guest-shutdown", "host-qmp-quit", "host-signal", "host-ui", "host-error")  # QEMU's ShutdownCause

EVENTS: list[type[Event]] = []  # all that are declared anywhere


class Event(Record):
    """Something that happened; the fields are its data."""

    event = ""

    def __init_subclass__(cls) -> None:
        """Collect the events."""
        super().__init_subclass__()
        EVENTS.append(cls)

    def message(self) -> dict[str, object]:
        """Return the event as it is sent, as of now."""
        seconds, nanoseconds = divmod(time_ns(), 10**9)
        data = {field.key: self.__dict__[name] for name, field in self.fields.items()}
        timestamp = {"seconds": seconds, "microseconds": nanoseconds // 1000}
        return {"event": self.event, "data": data, "timestamp": timestamp}


class Stop(Event):
    """The vCPUs stopped."""

    event = "STOP"


class Resume(Event):
    """The vCPUs run on."""

    event = "RESUME"


class Shutdown(Event):
    """The machine ended; the process follows."""

    event = "SHUTDOWN"
    guest: bool = flag("The guest asked for it")
    reason: str = choice("Why; guest-shutdown is any end that the guest wanted, a reset too", REASONS)


class BlockIoError(Event):
    """The host failed a request of a disk; the guest got an error. At most one each second for each disk."""

    event = "BLOCK_IO_ERROR"
    device: str = text("The drive")
    operation: str = choice("read, or anything else: write", ("read", "write"))
    action: str = choice("What was done: the guest was told", ("report",))
    nospace: bool = flag("The host had no space left")
    reason: str = text("The host's word for it")
