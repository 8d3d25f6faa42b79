"""Listening Unix sockets and the files that are their names: taken, replaced when stale, removed again."""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, socket
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
from stat import S_ISSOCK

from stratovirt.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

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


class UnixListener:
    """A listening Unix socket and the file that is its name; `what` is what messages call it."""

    what = "socket"

    def __init__(self, path: str, sock: socket, what: str = "") -> None:
        self.path = path
        self.socket = sock
        self.what = what or self.what
        self._inode = _inode(path)
        if self._inode is None:
            # It could not be told from somebody else's at the end.
            self.socket.close()
            os.unlink(path)
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

    @property
    def fd(self) -> int:
        """Readable while a client waits."""
        return self.socket.fileno()

    def close(self) -> None:
        """Stop listening and remove the file, if it is still ours."""
        if self.socket.fileno() < 0:
            return
        # First the file: without it nobody can meet a socket that is half gone.
        try:
            if _inode(self.path) == self._inode:
                os.unlink(self.path)
        except OSError as error:
            raise HostError(f"remove {self.what} {self.path}", error, _close_hint(error)) from error
        finally:
            self.socket.close()


class _Refused(Exception):  # noqa: N818 - it never leaves this module
    """Why the path cannot be had, and what to do."""

    def __init__(self, error: OSError, hint: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.hint = hint


def _listening(path: str) -> socket:
    size = len(os.fsencode(path))
    if size > LONGEST_PATH:
        error = OSError(ENAMETOOLONG, f"the path has {size} bytes and a socket's can have {LONGEST_PATH}")
        raise _Refused(error, "use a shorter path")
    sock = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    try:
        # Before bind, which on Linux gives the file this mode: at no time can others connect.
        os.fchmod(sock.fileno(), 0o600)
        _bind(sock, path)
        try:
            sock.listen(BACKLOG)
        except OSError:
            os.unlink(path)
            raise
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket, path: str) -> None:
    for _ in range(ATTEMPTS):
        try:
            sock.bind(path)
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
    if not S_ISSOCK(os.lstat(path).st_mode):
        raise _Refused(
            OSError(EEXIST, "there is a file that is no socket"), "name another path, or remove it"
        )
    _refuse_if_live(path)
    # Only what was probed is removed: somebody else may have put a live one there meanwhile.
    if _inode(path) == found:
        os.unlink(path)


def _refuse_if_live(path: str) -> None:
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    try:
        probe.connect(path)
    except OSError as error:
        if error.errno in {ECONNREFUSED, ENOENT}:
            return
        if error.errno != EAGAIN:  # EAGAIN: alive, with a full backlog
            raise _Refused(error, "a socket is there already; name another path, or remove it") from error
    finally:
        probe.close()
    in_use = OSError(EADDRINUSE, "a running program listens there")
    raise _Refused(in_use, "name another path, or end that program")


def _close_hint(error: OSError) -> str:
    if error.errno == EACCES and os.geteuid() == 0:
        return 'remove it by hand: root\'s capabilities were dropped; capabilities = "keep" leaves them'
    return "remove it by hand"


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
