"""The file that holds the process id (guidebook, 4.1): locked while the process lives, removed at its end."""

from __future__ import annotations

import os
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
            _refuse_if_held(path)
            fd = _write_new(path)
            try:
                if _is_at(fd, path):
                    return cls(path, fd)
            except OSError as error:
                os.unlink(path)
                raise HostError(f"pidfile {path}: look at it", error) from error
            os.close(fd)  # somebody else came first
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


def _refuse_if_held(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"pidfile {path}: open", error, hint="name a plain file") from error
    try:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise StratovirtError(f"pidfile {path} is no plain file", hint="name another file")
        flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode(errors="replace").strip() or "another process"
        raise StratovirtError(
            f"pidfile {path}: process {holder} runs and holds it", hint="end it, or name another file"
        ) from None
    finally:
        os.close(fd)


def _write_new(path: str) -> int:
    """Put a locked file with our id in the place of what is there; nobody ever sees it half written."""
    fresh = f"{path}.{os.getpid()}"
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HostError(f"pidfile {path}: write", error, hint="name a folder that can be written") from error
    try:
        flock(fd, LOCK_EX | LOCK_NB)
        os.write(fd, str(os.getpid()).encode())
        os.rename(fresh, path)
    except OSError as error:
        os.close(fd)
        os.unlink(fresh)
        raise HostError(f"pidfile {path}: write", error, hint="name a file that can be written") from error
    return fd


def _is_at(fd: int, path: str) -> bool:
    try:
        there = os.lstat(path)
    except OSError:
        return False
    ours = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
