"""Guest memory: where it comes from on the host.

Whatever can be known to be too little is refused before the machine starts, with numbers: a page that the
host does not have when the guest wants it ends the process.
"""

from __future__ import annotations

import errno
import posix

from stratovirt.core import lib
from stratovirt.errors import HostError, StratovirtError
from stratovirt.units import KIB, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.core.vm import CoreVm
    from stratovirt.document.sections import Memory
    from stratovirt.machine.chassis import Chassis

PREALLOC_THREADS = 8
_KIND_MASK, _REGULAR, _FOLDER = 0o170000, 0o100000, 0o040000  # stat's S_IFMT and S_IFREG, S_IFDIR
_MEMFD = posix.MFD_CLOEXEC | posix.MFD_ALLOW_SEALING
POOLS = "/sys/kernel/mm/hugepages"
DEVICES, SHARED_MEMORY = "/dev", "/dev/shm"  # noqa: S108 - a mount of the host's


class Ram:
    """The whole guest memory: its bytes, in which pages the host gives it, and who else can have it."""

    __slots__ = ("buffer", "fd", "page_size", "shared")

    def __init__(self, buffer: object, page_size: int, fd: int, *, shared: bool) -> None:
        self.buffer = buffer
        self.page_size = page_size
        self.fd = fd  # what another process would map, -1 when it cannot be shared; the chassis owns it
        self.shared = shared


def allocate(memory: Memory, chassis: Chassis) -> Ram:
    """Map the guest memory; the machine owns it, and what another process would map."""
    fd = _open(memory)
    try:
        huge = 0 if fd < 0 else max(lib.sv_huge_page_size(fd), 0)
        buffer = chassis.core.map_memory(fd, memory.size, _flags(memory, huge), _map_hint(memory, huge))
        if memory.prealloc:
            _populate(memory, chassis.core, huge)
        if chassis.tell is not None:
            chassis.tell(_described(memory, huge))
    except BaseException:
        if fd >= 0:
            posix.close(fd)
        raise
    if memory.share:
        chassis.keep_fd(fd)
    elif fd >= 0:
        posix.close(fd)
        fd = -1
    return Ram(buffer, huge or posix.sysconf("SC_PAGESIZE"), fd, shared=memory.share)


def _described(memory: Memory, huge: int) -> str:
    """Return which memory the guest has, for a reader."""
    own = "a file without a name" if memory.share else "the process's own"
    words = [
        f"memory: {format_size(memory.size)} of {memory.path or own}",
        f"host pages of {format_size(huge or posix.sysconf('SC_PAGESIZE'))}",
        "shared" if memory.share else "private",
    ]
    if memory.transparent_hugepages and not huge:
        words.append("transparent huge pages")
    if memory.prealloc:
        words.append("all of it allocated")
    return ", ".join(words)


def _flags(memory: Memory, huge: int) -> int:
    flags: int = lib.SV_MAP_SHARED if memory.share else 0
    if not huge:
        flags |= lib.SV_MAP_NO_RESERVE  # huge pages are reserved: what is missing shows now
    if not memory.dump_guest_core:
        flags |= lib.SV_MAP_NO_DUMP
    if memory.transparent_hugepages and not huge:
        flags |= lib.SV_MAP_TRANSPARENT
    return flags


def _map_hint(memory: Memory, huge: int) -> str:
    if huge:
        return "another process took huge pages meanwhile: make the pool larger"
    if memory.transparent_hugepages:
        return "has this host transparent huge pages? Else take transparent_hugepages out"
    return "ask for less memory, or raise the limit (ulimit -v, cgroup, vm.overcommit_memory)"


def _open(memory: Memory) -> int:
    """Return a descriptor of what backs the memory, large enough, or -1 for memory of the process's own."""
    if memory.path is None:
        fd = posix.memfd_create("stratovirt-ram", _MEMFD) if memory.share else -1
    else:
        fd = _open_path(memory.path)
    if fd < 0:
        return fd
    try:
        _check_size(memory, fd)
        if memory.path is not None:
            _check_room(memory, fd)
        _grow(memory, fd)
    except BaseException:
        posix.close(fd)
        raise
    return fd


def _open_path(path: str) -> int:
    try:
        kind = posix.stat(path).st_mode & _KIND_MASK
    except FileNotFoundError:
        folder = path.rpartition("/")[0] or "/"
        _refuse_devices(folder, path)
        return _temporary(folder)
    except OSError as error:
        raise HostError(f"memory: look at {path}", error, hint="is `path` what was meant?") from error
    if kind == _FOLDER:
        _refuse_devices(path, path)
        return _temporary(path)
    if kind != _REGULAR:
        raise StratovirtError(
            f"memory: {path} is neither a folder nor a regular file",
            hint="name a folder, a hugetlbfs for huge pages, or a file",
        )
    try:
        return posix.open(path, posix.O_RDWR | posix.O_CLOEXEC)
    except OSError as error:
        raise HostError(f"memory: open {path}", error, hint="let the user read and write the file") from error


def _temporary(folder: str) -> int:
    """Return a file in a folder that has no name, so that nothing can be left behind."""
    mode = posix.O_RDWR | posix.O_CLOEXEC
    try:
        try:
            return posix.open(folder, mode | posix.O_TMPFILE, 0o600)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR}:
                raise
        path = f"{folder}/stratovirt-ram-{posix.getpid()}"
        fd = posix.open(path, mode | posix.O_CREAT | posix.O_EXCL, 0o600)
        posix.unlink(path)
    except OSError as error:
        raise HostError(
            f"memory: make a file in {folder}", error, hint="name a folder that exists and can be written"
        ) from error
    return fd


def _refuse_devices(folder: str, path: str) -> None:
    """Refuse /dev and what is not mounted below it: memory of huge pages would be of small ones."""
    try:
        place, device = posix.stat(folder), posix.stat(DEVICES).st_dev
        if place.st_dev != device or device == posix.stat("/").st_dev:
            return
        shared = posix.stat(SHARED_MEMORY)
        if (place.st_dev, place.st_ino) == (shared.st_dev, shared.st_ino):
            return  # where a host has no file system of its own for it
    except OSError:
        return
    raise StratovirtError(
        f"memory: no file system is mounted at {path}, and {DEVICES} is no place for a guest's memory",
        hint=f"for huge pages, mount -t hugetlbfs hugetlbfs {path}, once the folder is there",
    )


def _check_size(memory: Memory, fd: int) -> None:
    """Refuse a file that is neither empty nor large enough, and half a huge page."""
    size = posix.fstat(fd).st_size
    if 0 < size < memory.size:
        raise StratovirtError(
            f"memory: {memory.path} has {format_size(size)}, and the guest {format_size(memory.size)}",
            hint="make the file as large as the guest's memory, or empty: an empty one is grown",
        )
    huge = lib.sv_huge_page_size(fd)
    if huge > 0 and memory.size % huge:
        raise StratovirtError(
            f"memory: {format_size(memory.size)} is not a multiple of the {format_size(huge)} pages "
            f"of {memory.path}",
            hint=f"ask for {format_size(_rounded(memory.size, huge))}",
        )


def _grow(memory: Memory, fd: int) -> None:
    if posix.fstat(fd).st_size:
        return
    try:
        posix.ftruncate(fd, memory.size)
    except OSError as error:
        name = memory.path or "shared memory"
        raise HostError(
            f"memory: grow {name} to {format_size(memory.size)}", error, hint="ask for less"
        ) from error


def _rounded(size: int, unit: int) -> int:
    return (size + unit - 1) // unit * unit


def _check_room(memory: Memory, fd: int) -> None:
    """Refuse memory for which the pool of huge pages, or the file system, has no room."""
    huge = lib.sv_huge_page_size(fd)
    missing = memory.size - min(posix.fstat(fd).st_blocks * 512, memory.size)
    if huge > 0:
        _check_pool(memory, huge, missing if memory.share else memory.size)
    status = posix.fstatvfs(fd)
    room = status.f_bavail * status.f_frsize
    if status.f_blocks and room < missing:  # a file system without a size has no limit of its own
        raise StratovirtError(
            f"memory: {format_size(memory.size)} do not fit where {memory.path} is: {room >> 20}M are free",
            hint="ask for less memory, or name a larger file system",
        )


def _check_pool(memory: Memory, huge: int, missing: int) -> None:
    pool = f"{POOLS}/hugepages-{huge // KIB}kB"
    wanted = _rounded(missing, huge) // huge
    try:
        free, total = pool_of(pool)
    except OSError:
        return  # without /sys the reservation decides
    if free < wanted:
        raise StratovirtError(
            f"memory: {format_size(memory.size)} need {wanted} pages of {format_size(huge)}, "
            f"and the host has {free} free of {total}",
            hint=f"as root: echo {total + wanted - free} > {pool}/nr_hugepages",
        )


def pool_of(folder: str) -> tuple[int, int]:
    """Return how many huge pages are free and not reserved, and how many there are (mm/hugetlbpage.rst)."""
    free = _number(f"{folder}/free_hugepages") - _number(f"{folder}/resv_hugepages")
    return free, _number(f"{folder}/nr_hugepages")


def _number(path: str) -> int:
    with open(path, "rb") as file:
        return int(file.read())


def _populate(memory: Memory, core: CoreVm, huge: int) -> None:
    if not huge and not (memory.path and memory.share):
        available = _available()
        if available < memory.size:
            raise StratovirtError(
                f"memory: {format_size(memory.size)} cannot be allocated before the start: "
                f"the host has {available >> 20}M available",
                hint="ask for less memory, or take prealloc out",
            )
    threads = min(len(posix.sched_getaffinity(0)), PREALLOC_THREADS)
    core.populate_memory(threads, "the host has not as many pages: ask for less, or take prealloc out")


def _available() -> int:
    """Return the bytes that the host can give without harm to others (proc(5), MemAvailable)."""
    with open("/proc/meminfo", "rb") as file:
        for line in file:
            if line.startswith(b"MemAvailable:"):
                return int(line.split()[1]) * KIB
    return 1 << 63
