"""KVM's ioctls from Python: open the device, make VMs and vCPUs, set registers.

Linux Documentation/virt/kvm/api.rst.
"""

from __future__ import annotations

import errno
import posix

from stratovirt.core import ffi, lib
from stratovirt.errors import HostError, StratovirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEVICE = "/dev/kvm"
API_VERSION = 12
NEEDED = ("IRQCHIP", "USER_MEMORY", "IRQFD", "IOEVENTFD", "IMMEDIATE_EXIT")

_OPEN_HINTS = {
    errno.ENOENT: "load the module (modprobe kvm_intel or kvm_amd), or turn virtualization on in firmware",
    errno.EACCES: "add the user to the group that owns the device, often `kvm`, and log in again",
    errno.EPERM: "give this container access to the device",
    errno.ENODEV: "load the module (modprobe kvm_intel or kvm_amd)",
    errno.EBUSY: "stop the other hypervisor that holds the processor",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}
_CALL_HINTS = {
    errno.ENOMEM: "free memory on the host, or raise the limit of its cgroup",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EPERM: "may this user, or this container, use KVM?",
}
_HINT = "the host's log may say why (dmesg); a newer kernel may do it"


def call(fd: int, request: str, argument: Any = 0) -> int:
    """Do one ioctl by its name; raise HostError with the name when KVM refuses."""
    if isinstance(argument, int):
        argument = ffi.cast("unsigned long", argument)
    result: int = lib.ioctl(fd, getattr(lib, request), argument)
    if result < 0:
        number = ffi.errno
        raise HostError(request, OSError(number, posix.strerror(number)), _CALL_HINTS.get(number, _HINT))
    return result


def open_device(path: str = DEVICE) -> int:
    """Open KVM, check that it is what we need, and return the descriptor."""
    try:
        fd = posix.open(path, posix.O_RDWR | posix.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"open {path}", error, _OPEN_HINTS.get(error.errno or 0, _HINT)) from error
    try:
        _require(fd, path)
    except BaseException:
        posix.close(fd)
        raise
    return fd


def _require(fd: int, path: str) -> None:
    try:
        version = call(fd, "KVM_GET_API_VERSION")
    except HostError as error:
        raise StratovirtError(f"{path} is not KVM", hint="is something else mounted in its place?") from error
    if version != API_VERSION:
        raise StratovirtError(
            f"{path} speaks KVM API {version}, not {API_VERSION}", hint="use a Linux host since 2.6.22"
        )
    missing = [
        name for name in NEEDED if not call(fd, "KVM_CHECK_EXTENSION", getattr(lib, f"KVM_CAP_{name}"))
    ]
    if missing:
        raise StratovirtError(f"KVM of this host lacks {', '.join(missing)}", hint="use a newer kernel")
