"""Disk images on the host: opening them, what O_DIRECT wants of them, and the lock against a second writer.

The lock is one over the whole file, of the open file description (fcntl(2), F_OFD_SETLK): shared for those
who only read. It also stands against QEMU's locks, which are single bytes. It goes with the last descriptor.
"""

from __future__ import annotations

import errno
import posix

from stratovirt.errors import HostError, StratovirtError

SECTOR = 512
_KIND_MASK, _REGULAR, _BLOCK = 0o170000, 0o100000, 0o060000  # stat's S_IFMT, S_IFREG, S_IFBLK
_SEEK_END = 2  # <stdio.h>
_F_OFD_SETLK = 37  # <asm-generic/fcntl.h>
_F_RDLCK, _F_WRLCK = 0, 1
_LOCK_SIZE = 32  # of struct flock; what is not its type is 0: the whole file
_NO_LOCKS_HERE = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class Image:
    """An open image."""

    __slots__ = ("alignment", "direct", "fd", "path", "readonly", "size")

    def __init__(self, label: str, path: str, *, readonly: bool, direct: bool, lock: str = "auto") -> None:
        """Open it, or say what is wrong with the file."""
        self.path = path
        self.readonly = readonly
        self.direct = direct
        self.fd = _open(label, path, readonly=readonly, direct=direct)
        try:
            self.size = _size(label, path, self.fd)
            if lock == "auto":
                _lock(label, path, self.fd, readonly=readonly)
            self.alignment = _direct_alignment(self.fd) if direct else 1
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *_what: object) -> None:
        self.close()

    def close(self) -> None:
        """Close our descriptor; the core has one of its own."""
        posix.close(self.fd)


def _open(label: str, path: str, *, readonly: bool, direct: bool) -> int:
    mode = (
        posix.O_CLOEXEC | (posix.O_RDONLY if readonly else posix.O_RDWR) | (posix.O_DIRECT if direct else 0)
    )
    try:
        kind = posix.stat(path).st_mode & _KIND_MASK  # before it is opened: a named pipe would be waited for
        fd = -1 if kind not in {_REGULAR, _BLOCK} else posix.open(path, mode)
    except OSError as error:
        raise HostError(f"{label}: open {path}", error, hint=_open_hint(error, readonly=readonly)) from error
    if fd < 0:
        raise StratovirtError(
            f"{label}: {path} is neither a regular file nor a block device", hint="name a raw image"
        )
    return fd


def _open_hint(error: OSError, *, readonly: bool) -> str:
    if error.errno == errno.EINVAL:
        return (
            "this file system has no O_DIRECT; set direct = false (direct=off; in blockdev-add, cache.direct)"
        )
    if error.errno in {errno.EPERM, errno.EACCES, errno.EROFS} and not readonly:
        return "let the user write the file, or set readonly = true (readonly=on)"
    return "is `file` the image that was meant?"


def _size(label: str, path: str, fd: int) -> int:
    size = posix.lseek(fd, 0, _SEEK_END)
    if size == 0 or size % SECTOR:
        raise StratovirtError(
            f"{label}: {path} has {size} bytes, not a whole number of {SECTOR}-byte sectors",
            hint=f"make it larger: truncate -s {size // SECTOR * SECTOR + SECTOR} {path}",
        )
    return size


def _direct_alignment(fd: int) -> int:
    """Return what O_DIRECT wants of offsets and lengths: the smallest block that can be read."""
    import mmap

    page = mmap.mmap(-1, 4096)
    for size in (512, 4096):
        view = memoryview(page)[:size]
        try:
            posix.preadv(fd, [view], 0)
        except OSError:
            continue
        finally:
            view.release()
        return size
    return 4096


def _lock(label: str, path: str, fd: int, *, readonly: bool) -> None:
    import fcntl

    kind = _F_RDLCK if readonly else _F_WRLCK
    try:
        fcntl.fcntl(fd, _F_OFD_SETLK, kind.to_bytes(2, "little").ljust(_LOCK_SIZE, b"\0"))
    except OSError as error:
        if error.errno in _NO_LOCKS_HERE:
            return
        if error.errno not in {errno.EAGAIN, errno.EACCES}:
            raise HostError(f"{label}: lock {path}", error, hint='set lock = "off" to go without') from error
        holders = ", ".join(_holders(fd)) or "a process that cannot be seen from here"
        if f"process {posix.getpid()} (" in holders:
            raise StratovirtError(
                f"{label}: {path} is in use by this machine",
                hint="a disk has an image for itself; readers may share one when all have readonly = true",
            ) from None
        raise StratovirtError(
            f"{label}: {path} is in use by {holders}",
            hint="end that process first; readers may share an image when all of them have readonly = true",
        ) from None


def _holders(fd: int) -> list[str]:
    """Return who has locks on the file, as far as /proc shows it: the lock itself names nobody."""
    status = posix.fstat(fd)
    place = f":{status.st_ino} "
    return [
        f"process {pid} ({_command_of(pid)})"
        for pid in posix.listdir("/proc")
        if pid.isdigit() and any(place in line for line in _locks_of(pid))
    ]


def _locks_of(pid: str) -> list[str]:
    lines = []
    try:
        for number in posix.listdir(f"/proc/{pid}/fdinfo"):
            with open(f"/proc/{pid}/fdinfo/{number}", encoding="utf-8", errors="replace") as file:
                lines += [line for line in file if line.startswith("lock:") and "FLOCK" not in line]
    except OSError:
        return lines  # not ours to look at, or gone
    return lines


def _command_of(pid: str) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
