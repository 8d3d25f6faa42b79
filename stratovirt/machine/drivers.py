"""The steps of a guest's driver (VIRTIO 1.2, 3.1), in words; only loaded for a log that holds them."""

from __future__ import annotations

from stratovirt.core import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BITS = (
    (0x01, "ACKNOWLEDGE"),
    (0x02, "DRIVER"),
    (0x08, "FEATURES_OK"),
    (0x04, "DRIVER_OK"),
    (0x40, "NEEDS_RESET"),
    (0x80, "FAILED"),
)


def step(data: tuple[int, ...]) -> str:
    """Return the text for the words of an event."""
    what, first, second, untold = data[:4]
    text = _STEPS[what](first, second)
    return f"{text}; {untold} steps before were left out" if untold else text


def _bits(status: int) -> str:
    return " ".join(name for bit, name in _BITS if status & bit) or "0"


def _status(now: int, written: int) -> str:
    refused = written & ~now
    text = f"the driver's status is {_bits(now)}"
    return f"{text}; {_bits(refused)} was not taken" if refused else text


def _features(agreed: int, offered: int) -> str:
    return f"features {agreed:#x} of {offered:#x} are agreed"


_STEPS: dict[int, Callable[[int, int], str]] = {
    lib.SV_DRIVER_STATUS: _status,
    lib.SV_DRIVER_FEATURES: _features,
    lib.SV_DRIVER_QUEUE_READY: lambda queue, size: f"queue {queue} is ready, with {size} entries",
    lib.SV_DRIVER_QUEUE_REFUSED: lambda queue, _size: f"queue {queue} came too early, or too late",
    lib.SV_DRIVER_QUEUE_STOPPED: lambda queue, _none: f"queue {queue} is stopped",
    lib.SV_DRIVER_RESET: lambda before, _none: (
        f"the driver resets the device; its status was {_bits(before)}"
    ),
}
