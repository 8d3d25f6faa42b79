"""Taps of the host: opened by name, or handed to us open (<linux/if_tun.h>).

Every tap that leaves this module has a virtio_net_hdr of 12 bytes before each frame and no other header.
"""

from __future__ import annotations

import errno
import fcntl
import os

from stratovirt.errors import HostError, StratovirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

CLONE_DEVICE = "/dev/net/tun"
HEADER_SIZE = 12  # VIRTIO 1.2, 5.1.6: struct virtio_net_hdr with num_buffers

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
TUNGETIFF = 0x800454D2
TUNSETVNETHDRSZ = 0x400454D8

IFF_TAP = 0x0002
IFF_MULTI_QUEUE = 0x0100
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000
_FLAGS = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR

TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN, TUN_F_UFO = 0x01, 0x02, 0x04, 0x08, 0x10
ALL_OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO
# From all of them down: a kernel may lack the last ones.
_OFFLOAD_SETS = (ALL_OFFLOADS, ALL_OFFLOADS & ~TUN_F_UFO, TUN_F_CSUM, 0)

_HAND_OVER = "pass an open one (fds=, or getfd to a running machine, which has no capabilities)"
_CLONE_HINTS = {
    errno.ENOENT: "load the module (modprobe tun), or give the container the device",
    errno.ENODEV: "load the module (modprobe tun)",
    errno.EACCES: "let the user read and write the device, often with mode 0666",
    errno.EPERM: "give this container access to the device",
}


def open_named(label: str, name: str, queues: int) -> list[int]:
    """Open a tap, once for each queue; a missing one is made if the user may. The caller closes them."""
    fds: list[int] = []
    try:
        for _ in range(queues):
            fds.append(open_clone(label))
            _attach(label, fds[-1], name, queues)
            _set_header(label, fds[-1])
    except BaseException:
        close(fds)
        raise
    return fds


def adopt(label: str, numbers: Sequence[int]) -> list[int]:
    """Return copies of open tap descriptors that we were handed. The caller closes them."""
    fds: list[int] = []
    try:
        for number in numbers:
            fds.append(_copy(label, number))
            _check(label, fds[-1], number)
            _set_header(label, fds[-1])
    except BaseException:
        close(fds)
        raise
    return fds


def close(fds: list[int]) -> None:
    """Close descriptors."""
    while fds:
        os.close(fds.pop())


def offloads(fds: list[int]) -> int:
    """Return the TUN_F_* that all of some taps can be told to do."""
    known = ALL_OFFLOADS
    for fd in fds:
        known &= _offloads_of(fd)
    return known


def _offloads_of(fd: int) -> int:
    for wanted in _OFFLOAD_SETS:
        try:
            fcntl.ioctl(fd, TUNSETOFFLOAD, wanted)
        except OSError:
            continue
        fcntl.ioctl(fd, TUNSETOFFLOAD, 0)  # until a driver has accepted them
        return wanted
    return 0


def open_clone(label: str) -> int:
    """Open what taps are made and attached with; the caller closes it."""
    try:
        return os.open(CLONE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        hint = _CLONE_HINTS.get(error.errno or 0, "has the process met a limit (ulimit -n)?")
        raise HostError(f"{label}: open {CLONE_DEVICE}", error, hint) from error


def _request(name: str, flags: int) -> bytes:
    """Return a struct ifreq of 40 bytes: name and flags."""
    return os.fsencode(name).ljust(16, b"\0") + flags.to_bytes(2, "little") + bytes(22)


def _attach(label: str, fd: int, name: str, queues: int) -> None:
    existed = os.path.exists(f"/sys/class/net/{name}")
    flags = _FLAGS | (IFF_MULTI_QUEUE if queues > 1 else 0)
    try:
        try:
            fcntl.ioctl(fd, TUNSETIFF, _request(name, flags))
        except OSError as error:
            if error.errno != errno.EINVAL or queues > 1:
                raise
            # A tap that was made for several queues is opened as such, for one of them too.
            fcntl.ioctl(fd, TUNSETIFF, _request(name, flags | IFF_MULTI_QUEUE))
    except OSError as error:
        hint = _attach_hint(error, name, queues, existed=existed)
        raise HostError(f"{label}: open tap '{name}'", error, hint) from error


def _attach_hint(error: OSError, name: str, queues: int, *, existed: bool) -> str:
    several = " multi_queue" if queues > 1 else ""
    make = f"ip tuntap add {name} mode tap{several} user $USER"
    if error.errno == errno.EBUSY:
        return (
            f"another process has it; `ip tuntap` and `fuser {CLONE_DEVICE}` tell which, or name another tap"
        )
    if error.errno in {errno.EPERM, errno.EACCES} and existed:
        return f"it belongs to another user: as root, `ip link delete {name}` and `{make}`, or {_HAND_OVER}"
    if error.errno in {errno.EPERM, errno.EACCES}:
        return f"it does not exist, and this process may not make it: as root, `{make}`, or {_HAND_OVER}"
    if error.errno == errno.EINVAL and queues > 1:
        return f"it is no tap, or was made for one queue: as root, `ip link delete {name}` and `{make}`"
    if error.errno == errno.EINVAL:
        return f"'{name}' is no tap: name one that `ip tuntap` lists, or a new one"
    return "is it the name of a tap that this host can have?"


def _copy(label: str, number: int) -> int:
    try:
        return os.dup(number)
    except OSError as error:
        raise HostError(
            f"{label}: take descriptor {number}",
            error,
            hint="the process that starts this one must leave it open, without close-on-exec",
        ) from error


def _check(label: str, fd: int, number: int) -> None:
    try:
        answer = fcntl.ioctl(fd, TUNGETIFF, bytes(40))
    except OSError as error:
        raise HostError(
            f"{label}: descriptor {number} is no tap", error, hint="open /dev/net/tun and set IFF_TAP on it"
        ) from error
    flags = int.from_bytes(answer[16:18], "little")
    words = {"IFF_TAP": IFF_TAP, "IFF_NO_PI": IFF_NO_PI, "IFF_VNET_HDR": IFF_VNET_HDR}
    missing = [word for word, bit in words.items() if not flags & bit]
    if missing:
        raise StratovirtError(
            f"{label}: the tap of descriptor {number} was opened without {', '.join(missing)}",
            hint="open it with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR",
        )


def _set_header(label: str, fd: int) -> None:
    try:
        fcntl.ioctl(fd, TUNSETVNETHDRSZ, HEADER_SIZE.to_bytes(4, "little"))
    except OSError as error:
        raise HostError(
            f"{label}: set the header of the tap to {HEADER_SIZE} bytes", error, hint="use a newer kernel"
        ) from error
