"""What the core's threads tell: 64-byte events, turned into words that a user can read."""

from __future__ import annotations

import posix
from errno import EFAULT, EPIPE, EPROTO, EREMOTEIO, ETIMEDOUT

from stratovirt.core import lib

KVM_EXIT_FAIL_ENTRY = 9
KVM_EXIT_INTERNAL_ERROR = 17
_SUBERRORS = {
    1: "an instruction that KVM cannot emulate",
    2: "two exceptions at once",
    3: "a delivery that failed",
}
_NO_PAGE = (
    "the host has no page left for guest memory: "
    "its huge pages, or the file system of memory.path, have run out"
)
_CAUSES = {
    lib.SV_SHUTDOWN_POWEROFF: "poweroff",
    lib.SV_SHUTDOWN_RESET: "reset",
    lib.SV_SHUTDOWN_TRIPLE_FAULT: "triple-fault",
}
_OPERATIONS = {0: "read", 1: "write", 4: "flush", 11: "discard", 13: "write zeroes"}  # VIRTIO 1.2, 5.2.6
_NET_FAILURES = {
    lib.SV_NET_TAP_LOST: "the tap is gone and the link is down",
}


class Event:
    """`text` is for a reader.

    `kind`: shutdown, vcpu-failed, device-broken, io-error, host-error, serial-room, balloon, balloon-kept,
    balloon-waits, driver or lost. Of an io-error, `cause` is the host's word for it, `device` the drive, and
    `error` the errno.
    """

    __slots__ = ("cause", "device", "error", "kind", "operation", "text")

    def __init__(
        self,
        kind: str,
        text: str = "",
        cause: str = "",
        *,
        device: str = "",
        operation: str = "",
        error: int = 0,
    ) -> None:
        self.kind = kind
        self.text = text
        self.cause = cause
        self.device = device
        self.operation = operation
        self.error = error

    def __repr__(self) -> str:
        return f"Event({self.kind}, {self.cause or self.text!r})"


def decode(
    kind: int, source: int, data: tuple[int, ...], names: dict[int, str], drives: dict[int, str]
) -> Event:
    """Return the event for its words; `names` says what devices are called, `drives` what QMP calls disks."""
    if kind == lib.SV_EVENT_SHUTDOWN:
        return Event("shutdown", cause=_CAUSES.get(data[0], "reset"))
    if kind == lib.SV_EVENT_VCPU_FAILED:
        return Event("vcpu-failed", _failure(source, data))
    if kind in _BARE:
        return Event(_BARE[kind])
    device = names.get(source, f"device {source}")
    if kind == lib.SV_EVENT_IO_ERROR:
        return _io_error(device, drives.get(source, ""), data)
    if kind in _OF_DEVICES:
        name, text = _OF_DEVICES[kind]
        return Event(name, f"{device}: {text(data)}")
    return Event("lost", f"{data[0]} events did not fit")


def _broken(data: tuple[int, ...]) -> str:
    queue = "a queue that vhost serves" if data[0] == lib.SV_QUEUE_OF_VHOST else f"queue {data[0]}"
    return f"the guest broke {queue} (reason {data[1]}); it needs a reset{_before(data[2])}"


# Of a process by vhost-user; the host's kernel never says so.
_CUT_OFF = {
    EPIPE: "is gone",
    ETIMEDOUT: "did not answer within 5 seconds and was cut off, perhaps with requests in hand",
    EPROTO: "does not keep to vhost-user and was cut off",
    EREMOTEIO: "refused a message of vhost-user and was cut off",
}


def _vhost_failed(data: tuple[int, ...]) -> str:
    if data[0] in _CUT_OFF:
        return f"whoever serves its queues {_CUT_OFF[data[0]]}: this machine does without{_before(data[2])}"
    return f"vhost refused its queues: {posix.strerror(data[0])}; it needs a reset{_before(data[2])}"


def _before(times: int) -> str:
    return f", {times} times before" if times else ""


def _kept(data: tuple[int, ...]) -> str:
    return f"the host does not take back what the guest gives: {posix.strerror(data[0])}"


def _waits(_data: tuple[int, ...]) -> str:
    return "the guest takes memory back and no huge page of the host is free: it waits until one is free"


def _host_error(data: tuple[int, ...]) -> str:
    return f"its other end on the host: {posix.strerror(data[0])}; it is tried again"


def _driver(data: tuple[int, ...]) -> str:
    from stratovirt.machine import drivers  # loaded where the log holds such events

    return drivers.step(data)


def _net_failed(data: tuple[int, ...]) -> str:
    return f"{_NET_FAILURES.get(data[1], 'failed')}: {posix.strerror(data[0])}"


_BARE = {lib.SV_EVENT_SERIAL_ROOM: "serial-room", lib.SV_EVENT_BALLOON: "balloon"}
_OF_DEVICES = {
    lib.SV_EVENT_DEVICE_BROKEN: ("device-broken", _broken),
    lib.SV_EVENT_HOST_ERROR: ("host-error", _host_error),
    lib.SV_EVENT_NET_FAILED: ("host-error", _net_failed),
    lib.SV_EVENT_VHOST_FAILED: ("host-error", _vhost_failed),
    lib.SV_EVENT_DRIVER: ("driver", _driver),
    lib.SV_EVENT_BALLOON_KEPT: ("balloon-kept", _kept),
    lib.SV_EVENT_BALLOON_WAITS: ("balloon-waits", _waits),
}


def _io_error(device: str, drive: str, data: tuple[int, ...]) -> Event:
    error, number, sector = data[:3]
    operation = _OPERATIONS.get(number, "request")
    reason = posix.strerror(error)
    return Event(
        "io-error",
        f"{device}: {operation} at sector {sector}: {reason}{_before(data[3])}",
        reason,
        device=drive,
        operation=operation,
        error=error,
    )


def _failure(vcpu: int, data: tuple[int, ...]) -> str:
    reason, detail, rip, error = data[:4]
    if error:
        why = _NO_PAGE if error == EFAULT else f"KVM_RUN failed: {posix.strerror(error)}"
    elif reason == KVM_EXIT_FAIL_ENTRY:
        why = f"the processor refused to enter the guest (hardware reason {detail:#x})"
    elif reason == KVM_EXIT_INTERNAL_ERROR:
        why = f"KVM met {_SUBERRORS.get(detail, f'internal error {detail}')}{_code(data)}"
    else:
        why = f"an exit that nobody expects (reason {reason})"
    return f"vCPU {vcpu} stopped at RIP {rip:#x}: {why}"


def _code(data: tuple[int, ...]) -> str:
    length = min(data[4], 15)
    if not length:
        return ""
    raw = data[5].to_bytes(8, "little") + data[6].to_bytes(8, "little")
    return f" (bytes {raw[:length].hex(' ')})"
