"""Guest memory: where it comes from on the host."""

from __future__ import annotations

import mmap
import os

from stratovirt.errors import HostError, StratovirtError
from stratovirt.units import format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.document.sections import Memory

MAP_NORESERVE = 0x4000  # <asm-generic/mman.h>; the module has no name for it
MADV_DONTDUMP = 16


def allocate(memory: Memory) -> mmap.mmap:
    """Return a mapping of the whole guest memory, which the host fills with pages as they are touched."""
    if memory.path is not None:
        raise StratovirtError(
            "memory path is described but cannot be used by this version",
            hint="take `path` out of [memory], or -mem-path off the command line",
        )
    try:
        mapping = _map_shared(memory.size) if memory.share else _map_private(memory.size)
    except OSError as error:
        raise HostError(
            f"map {format_size(memory.size)} of guest memory",
            error,
            hint="ask for less memory, or raise the limit (ulimit -v, cgroup, vm.overcommit_memory)",
        ) from error
    if not memory.dump_guest_core:
        mapping.madvise(MADV_DONTDUMP)
    return mapping


def _map_private(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)


def _map_shared(size: int) -> mmap.mmap:
    fd = os.memfd_create("stratovirt-ram", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, size)
        return mmap.mmap(fd, size, flags=mmap.MAP_SHARED | MAP_NORESERVE)
    finally:
        os.close(fd)
