"""The file that holds the process id (guidebook, 4.1): locked while the process lives, removed at its end.

Of several processes that claim a path at once exactly one gets it. A file appears there by link(2), which
replaces nothing, and is replaced only by whoever holds its lock. Whoever can see one sees it whole.
"""

from __future__ import annotations

import os
from errno import EPERM
from fcntl import LOCK_EX, LOCK_NB, flock
from stat import S_ISREG

from stratovirt.errors import HostError, StratovirtError

ATTEMPTS = 5  # how often another process may come in between


class Pidfile:
    """Ours, from claim() to close()."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def claim(cls, path: str) -> Pidfile:
        """Write the file, or say which process holds it. One whose process is gone is replaced."""
        for _ in range(ATTEMPTS):
            stale = _lock_stale(path)
            try:
                fd = _put(path, stale)
            finally:
                _let_go(stale)
            if fd >= 0:
                return cls(path, fd)
        raise StratovirtError(
            f"pidfile {path}: other programs keep taking it", hint="name a file of your own"
        )

    def close(self) -> None:
        """Remove the file, if it is still ours."""
        if self._fd < 0:
            return
        try:
            if _is_at(self._fd, self.path):
                os.unlink(self.path)
        except OSError as error:
            raise HostError(f"pidfile {self.path}: remove", error, hint="remove it by hand") from error
        finally:
            os.close(self._fd)
            self._fd = -1


def _lock_stale(path: str) -> int:
    """Return the locked file of a process that is gone, -1 when there is none; refuse any other."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1
    except OSError as error:
        raise HostError(f"pidfile {path}: open", error, hint="name a plain file") from error
    try:
        _lock(fd, path)
    except BaseException:
        _let_go(fd)
        raise
    return fd


def _lock(fd: int, path: str) -> None:
    try:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise StratovirtError(f"pidfile {path} is no plain file", hint="name another file")
        flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        raise StratovirtError(
            f"pidfile {path}: {_holder(fd)} holds it", hint="end it, or name another file"
        ) from None
    except OSError as error:
        raise HostError(f"pidfile {path}: lock", error, hint="name a file on another file system") from error


def _holder(fd: int) -> str:
    """Name the process whose id is in the file; not one that is gone, whose file is just being replaced."""
    number = os.read(fd, 32).decode(errors="replace").strip()
    runs = number.isdigit() and os.path.exists(f"/proc/{number}")
    return f"process {number} runs and" if runs else "another process"


def _put(path: str, stale: int) -> int:
    """Let the path name a locked file with our id; return it, or -1 when somebody else came first."""
    fresh = f"{path}.{os.getpid()}.{os.urandom(4).hex()}"
    fd = -1
    named = False
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        flock(fd, LOCK_EX | LOCK_NB)
        os.write(fd, str(os.getpid()).encode())
        named = _name(fresh, path, stale)
    except OSError as error:
        raise HostError(f"pidfile {path}: write", error, hint=_hint(error)) from error
    finally:
        if fd >= 0 and not named:
            _let_go(fd)
            os.unlink(fresh)
    return fd if named else -1


def _name(fresh: str, path: str, stale: int) -> bool:
    """Give a new file its name; False when that is somebody else's now."""
    if stale >= 0:
        # While we have its lock nobody else replaces it, so that this stays true.
        if not _is_at(stale, path):
            return False
        os.rename(fresh, path)
        return True
    try:
        os.link(fresh, path)
    except FileExistsError:
        return False
    try:
        os.unlink(fresh)
    except OSError:
        os.unlink(path)
        raise
    return True


def _hint(error: OSError) -> str:
    if error.errno == EPERM:
        return "name a file on a file system with hard links, as /run is"
    return "name a file in a folder that can be written"


def _let_go(fd: int) -> None:
    """Close a descriptor, if it is one, of which nothing is wanted any more."""
    try:
        if fd >= 0:
            os.close(fd)
    except OSError:
        return


def _is_at(fd: int, path: str) -> bool:
    try:
        there = os.lstat(path)
    except OSError:
        return False
    ours = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
