"""The balloon: how much memory the guest has, shall have, and says that it uses (guidebook, 3.5)."""

from __future__ import annotations

from stratovirt.control.qmp.events import Event
from stratovirt.control.qmp.registry import Nothing, command
from stratovirt.errors import QmpError
from stratovirt.record import Record, integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from stratovirt.control.loop import Loop, Timer
    from stratovirt.control.qmp.registry import Target

    class LiveBalloon(Protocol):
        """What the balloon device lets commands do. Nothing here waits for the guest."""

        def actual(self) -> int | None:
            """Return the bytes that the guest has; None when no driver serves the balloon."""

        def set_target(self, size: int) -> None:
            """Ask the guest to make do with so many bytes; more than there are means all."""

        def stats(self) -> tuple[int, Mapping[str, int]]:
            """Return when the guest told of its memory, in seconds since 1970, and what."""

        def ask_stats(self) -> None:
            """Ask the guest to tell again."""


ANNOUNCE_S = 1.0  # guidebook's revision: from a change by the guest to its event


class BalloonChanged(Event):
    """The memory that the guest has changed, or a target was set; at most once a second by the guest."""

    event = "BALLOON_CHANGED"
    actual: int = integer("Bytes that the guest has")


class Wanted(Record):
    """The arguments of `balloon`."""

    value: int = integer(
        "Bytes that the guest shall have; more than the machine's memory means all", minimum=1
    )


@command("balloon", Wanted)
def balloon(target: Target, arguments: Wanted) -> object:
    """Ask the guest to give memory back, or let it have it again."""
    device, actual = _active(target)
    device.set_target(arguments.value)
    target.emit(BalloonChanged(actual=actual))
    return {}


@command("query-balloon", Nothing)
def query_balloon(target: Target, _arguments: Nothing) -> object:
    """Tell how much memory the guest has."""
    return {"actual": _active(target)[1]}


@command("query-balloon-stats", Nothing)
def query_balloon_stats(target: Target, _arguments: Nothing) -> object:
    """Tell what the guest last said of its memory, and ask it to say it anew.

    As QEMU's guest-stats: `last-update` is in seconds since 1970, 0 for never. A guest leaves out what it
    does not know.
    """
    device, _actual = _active(target)
    told, stats = device.stats()
    device.ask_stats()
    return {"last-update": told, "stats": {f"stat-{name}": value for name, value in stats.items()}}


def _active(target: Target) -> tuple[LiveBalloon, int]:
    device: LiveBalloon | None = target.machine.live("balloon")  # type: ignore[assignment]
    actual = None if device is None else device.actual()
    if device is None or actual is None:
        raise QmpError("No balloon device has been activated", "DeviceNotActive")
    return device, actual


class Announcer:
    """Tells clients what the guest makes of its balloon: the newest size, a second after the first change."""

    def __init__(self, loop: Loop, target: Target) -> None:
        self._loop = loop
        self._target = target
        self._timer: Timer | None = None
        self._open = True

    def changed(self) -> None:
        """The guest changed its balloon. The next change is told only after actual() was read."""
        if self._open and self._timer is None:
            self._timer = self._loop.call_later(ANNOUNCE_S, self._tell)

    def close(self) -> None:
        """Tell nothing more: the machine is about to go."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        device: LiveBalloon | None = self._target.machine.live("balloon")  # type: ignore[assignment]
        actual = None if device is None else device.actual()
        if actual is not None:
            self._target.emit(BalloonChanged(actual=actual))
