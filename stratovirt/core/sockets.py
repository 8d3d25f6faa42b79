"""Listening Unix sockets and the files that are their names: taken, replaced when stale, removed again.

The system calls are made through cffi, like KVM's: Python's own module for sockets takes as long to load as
ten of ours, and a start needs no more of it than this.
"""

from __future__ import annotations

import posix
from errno import (
    EACCES,
    EADDRINUSE,
    EAGAIN,
    ECONNREFUSED,
    EEXIST,
    ENAMETOOLONG,
    ENOENT,
    ENOTDIR,
    EPERM,
    EROFS,
)

from stratovirt.core import ffi, lib
from stratovirt.errors import HostError
from stratovirt.paths import encoded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from stratovirt.core._core import CData

_KIND_MASK, _SOCKET = 0o170000, 0o140000  # stat's S_IFMT and S_IFSOCK: `stat` costs a module
LONGEST_PATH = 107  # bytes; sockaddr_un of unix(7) has 108 with the final NUL
BACKLOG = 128  # clients that can wait while another is served
ATTEMPTS = 3  # how often somebody else may come first to a stale socket

_HINTS = {
    EACCES: "is the folder writable for this user?",
    EPERM: "is the folder writable for this user?",
    EROFS: "name a folder that can be written",
    ENOENT: "make the folder first",
    ENOTDIR: "a part of the path is a file; name a folder",
}


_CONNECT_HINTS = {
    EACCES: "let this user write to the socket",
    EPERM: "let this user write to the socket",
    EAGAIN: "it has too many clients that wait already",
}


class UnixListener:
    """A listening Unix socket and the file that is its name; `what` is what messages call it.

    `fd` is readable while a client waits, and -1 once it is closed.
    """

    what = "socket"

    def __init__(self, path: str, fd: int, what: str = "") -> None:
        self.path = path
        self.fd = fd
        self.what = what or self.what
        self._inode = _inode(path)
        if self._inode is None:
            # It could not be told from somebody else's at the end.
            posix.close(fd)
            posix.unlink(path)
            raise _Refused(OSError(ENOENT, "it is gone again"), "name a folder that others leave alone")

    @classmethod
    def bind(cls, path: str, what: str = "") -> Self:
        """Listen at path. A socket that nobody serves is replaced; anything else there is refused."""
        try:
            return cls(path, _listening(path), what)
        except _Refused as refused:
            raise HostError(f"listen on {what or cls.what} {path}", refused.error, refused.hint) from refused
        except OSError as error:
            raise HostError(f"listen on {what or cls.what} {path}", error, "name another path") from error

    def close(self) -> None:
        """Stop listening and remove the file, if it is still ours."""
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        # First the file: without it nobody can meet a socket that is half gone.
        try:
            if _inode(self.path) == self._inode:
                posix.unlink(self.path)
        except OSError as error:
            raise HostError(f"remove {self.what} {self.path}", error, _close_hint(error)) from error
        finally:
            posix.close(fd)


def connected(path: str, what: str, hint: str) -> int:
    """Return a connection to the socket at path.

    `what` listens there; `hint` says what to do when nobody does.
    """
    try:
        _check_length(path)
        fd = _socket()
        try:
            _named(lib.connect, fd, path)
        except BaseException:
            posix.close(fd)
            raise
    except _Refused as refused:
        raise HostError(f"connect to {what} at {path}", refused.error, refused.hint) from refused
    except OSError as error:
        better = _CONNECT_HINTS.get(error.errno or 0, hint)
        raise HostError(f"connect to {what} at {path}", error, better) from error
    return fd


class _Refused(Exception):  # noqa: N818 - it never leaves this module
    """Why the path cannot be had, and what to do."""

    def __init__(self, error: OSError, hint: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.hint = hint


def _check_length(path: str) -> None:
    size = len(encoded(path))
    if size > LONGEST_PATH:
        error = OSError(ENAMETOOLONG, f"the path has {size} bytes and a socket's can have {LONGEST_PATH}")
        raise _Refused(error, "use a shorter path")


def _listening(path: str) -> int:
    _check_length(path)
    fd = _socket()
    try:
        # Before bind, which on Linux gives the file this mode: at no time can others connect.
        posix.fchmod(fd, 0o600)
        _bind(fd, path)
        try:
            _checked(lib.listen(fd, BACKLOG))
        except OSError:
            posix.unlink(path)
            raise
    except BaseException:
        posix.close(fd)
        raise
    return fd


def _socket() -> int:
    return _checked(lib.socket(lib.AF_UNIX, lib.SOCK_STREAM | lib.SOCK_NONBLOCK | lib.SOCK_CLOEXEC, 0))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ffi.errno, posix.strerror(ffi.errno))
    return result


def _named(call: Callable[[int, CData, int], int], fd: int, path: str) -> None:
    """Do bind(2) or connect(2)."""
    address = ffi.new("struct sockaddr_un *", {"sun_family": lib.AF_UNIX, "sun_path": encoded(path)})
    _checked(call(fd, ffi.cast("struct sockaddr *", address), ffi.sizeof("struct sockaddr_un")))


def _bind(fd: int, path: str) -> None:
    for _ in range(ATTEMPTS):
        try:
            _named(lib.bind, fd, path)
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise _Refused(error, _HINTS.get(error.errno or 0, "name another path")) from error
        else:
            return
        _remove_stale(path)
    raise _Refused(OSError(EADDRINUSE, "another program keeps taking it"), "start one machine for each path")


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody serves; refuse anything else."""
    found = _inode(path)
    if found is None:
        return  # gone since
    if posix.lstat(path).st_mode & _KIND_MASK != _SOCKET:
        raise _Refused(
            OSError(EEXIST, "there is a file that is no socket"), "name another path, or remove it"
        )
    _refuse_if_live(path)
    # Only what was probed is removed: somebody else may have put a live one there meanwhile.
    if _inode(path) == found:
        posix.unlink(path)


def _refuse_if_live(path: str) -> None:
    probe = _socket()
    try:
        _named(lib.connect, probe, path)
    except OSError as error:
        if error.errno in {ECONNREFUSED, ENOENT}:
            return
        if error.errno != EAGAIN:  # EAGAIN: alive, with a full backlog
            raise _Refused(error, "a socket is there already; name another path, or remove it") from error
    finally:
        posix.close(probe)
    in_use = OSError(EADDRINUSE, "a running program listens there")
    raise _Refused(in_use, "name another path, or end that program")


def _close_hint(error: OSError) -> str:
    if error.errno == EACCES and posix.geteuid() == 0:
        return 'remove it by hand: root\'s capabilities were dropped; capabilities = "keep" leaves them'
    return "remove it by hand"


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = posix.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
