"""The QMP socket's place in the file system, taken before the machine is made: clients can wait there."""

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


class Listener:
    """A listening Unix socket and the file that is its name."""

    def __init__(self, path: str, sock: socket) -> None:
        self.path = path
        self.socket = sock
        self._inode = _inode(path)

    @classmethod
    def bind(cls, path: str) -> Listener:
        """Listen at path. A socket that nobody serves is replaced; anything else there is refused."""
        size = len(os.fsencode(path))
        if size > LONGEST_PATH:
            error = OSError(ENAMETOOLONG, f"the path has {size} bytes and a socket's can have {LONGEST_PATH}")
            raise _refusal(path, error, "use a shorter path")
        sock = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
        try:
            # Before bind, which on Linux gives the file this mode: at no time can others connect.
            os.fchmod(sock.fileno(), 0o600)
            _bind(sock, path)
            sock.listen(BACKLOG)
            return cls(path, sock)
        except BaseException:
            sock.close()
            raise

    @property
    def fd(self) -> int:
        """Readable while a client waits."""
        return self.socket.fileno()

    def accept(self) -> socket | None:
        """Take the next waiting client; None when there is none."""
        try:
            fd, _ = self.socket._accept()  # type: ignore[attr-defined] # noqa: SLF001 - typeshed has it elsewhere
        except (BlockingIOError, ConnectionAbortedError):
            return None
        client = socket(fileno=fd)
        client.setblocking(False)  # noqa: FBT003 - not ours to name
        return client

    def close(self) -> None:
        """Stop listening and remove the file, if it is still ours."""
        if self.socket.fileno() < 0:
            return
        # First the file: without it nobody can meet a socket that is half gone.
        try:
            if _inode(self.path) == self._inode:
                os.unlink(self.path)
        except OSError as error:
            raise HostError(f"remove QMP socket {self.path}", error, "remove it by hand") from error
        finally:
            self.socket.close()


def _bind(sock: socket, path: str) -> None:
    for _ in range(ATTEMPTS):
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise _refusal(path, error, _HINTS.get(error.errno or 0, "")) from error
        else:
            return
        _remove_stale(path)
    raise _refusal(
        path, OSError(EADDRINUSE, "another program keeps taking it"), "start one machine for each path"
    )


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody serves; refuse anything else."""
    found = _inode(path)
    if found is None:
        return  # gone since
    if not S_ISSOCK(os.lstat(path).st_mode):
        raise _refusal(
            path, OSError(EEXIST, "there is a file that is no socket"), "name another path, or remove it"
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
            raise _refusal(
                path, error, "a socket is there already; name another path, or remove it"
            ) from error
    finally:
        probe.close()
    in_use = OSError(EADDRINUSE, "a running program listens there")
    raise _refusal(path, in_use, "name another path, or end that program")


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _refusal(path: str, error: OSError, hint: str) -> HostError:
    return HostError(f"listen on QMP socket {path}", error, hint)
