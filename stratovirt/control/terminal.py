"""The user's terminal: raw while the guest has it, and put back on every way out.

Whatever ends this process without asking it (SIGKILL, a crash in C) cannot be handled in it. So a shell waits
on a pipe, and puts the terminal back when the pipe ends without a word. SIGTTOU has its default action there:
where another shell has taken the terminal back already, ours cannot touch it.
"""

from __future__ import annotations

import os
import termios as t
from errno import ENOTTY

from stratovirt.control.signals import ENDING
from stratovirt.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Any

    Attributes = list[Any]
else:
    import _signal

_SHELL = "/bin/sh"
# The first line says that the terminal is raw, the second that all is well.
_GUARD = "trap '' HUP INT QUIT TERM; read -r word <&3 || exit; read -r word <&3 || exec stty {saved}"
_HINT = "is standard input still a terminal?"


class Terminal:
    """A terminal that can be raw. Output is still processed, so that plain newlines are enough."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        try:
            self._saved = t.tcgetattr(fd)
        except t.error as error:
            raise HostError("read the terminal's mode", OSError(*error.args), _HINT) from error
        # Now, and not once the terminal is ours: a process that serves a machine can start no other one.
        self._guard: _Guard | None = _Guard(fd, self._saved)
        self._is_raw = False
        # In the background, reading would stop the whole process, guest included; so it fails instead.
        _signal.signal(_signal.SIGTTIN, _signal.SIG_IGN)

    @property
    def is_ours(self) -> bool:
        """Whether this process is in the foreground, as far as there is job control."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError as error:
            return error.errno == ENOTTY

    def make_raw(self) -> None:
        """Let every key reach the guest; again after somebody else changed it."""
        if self._guard is not None and not self._is_raw:
            self._guard.watch()
        self._is_raw = True
        try:
            t.tcsetattr(self._fd, t.TCSANOW, _raw(self._saved))
        except t.error as error:
            raise HostError("make the terminal raw", OSError(*error.args), _HINT) from error

    def restore(self) -> None:
        """Put it back; harmless when done before."""
        # Never TCSADRAIN: a terminal that nobody reads would keep us for ever.
        try:
            if self._is_raw and self.is_ours:
                t.tcsetattr(self._fd, t.TCSANOW, self._saved)
        except t.error:
            pass  # it has hung up
        finally:
            self._is_raw = False
            if self._guard is not None:
                self._guard.dismiss()
                self._guard = None


class _Guard:
    """A shell that puts the terminal back if this process cannot."""

    def __init__(self, fd: int, saved: Attributes) -> None:
        ours, self._pipe = os.pipe()
        actions = [
            (os.POSIX_SPAWN_DUP2, fd, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, ours, 3),
        ]
        words = ["sh", "-c", _GUARD.format(saved=_stty_word(saved))]
        default = [*ENDING, _signal.SIGTTIN, _signal.SIGPIPE]
        try:
            self._pid = os.posix_spawn(_SHELL, words, os.environ, file_actions=actions, setsigdef=default)
        except OSError:
            self._pid = 0  # no shell: only the ends that we see are covered
        finally:
            os.close(ours)

    def watch(self) -> None:
        """Tell it that the terminal is raw from now on."""
        try:
            os.write(self._pipe, b"\n")
        except OSError:
            return  # it was killed

    def dismiss(self) -> None:
        """Tell it that all is well."""
        try:
            try:
                os.write(self._pipe, b"\n\n")
            finally:
                os.close(self._pipe)
            if self._pid:
                os.waitpid(self._pid, 0)
        except OSError:
            return  # it was killed, or our parent asked to ignore SIGCHLD


def _raw(saved: Attributes) -> Attributes:
    """Return what cfmakeraw(3) makes of it, but for OPOST."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, keys = saved
    iflag &= ~(t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON)
    lflag &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
    cflag = (cflag & ~(t.CSIZE | t.PARENB)) | t.CS8
    keys = keys.copy()
    keys[t.VMIN], keys[t.VTIME] = 1, 0
    return [iflag, oflag, cflag, lflag, ispeed, ospeed, keys]


def _stty_word(saved: Attributes) -> str:
    """Return the attributes as stty(1) -g writes them."""
    numbers = [*saved[:4], *(key if isinstance(key, int) else key[0] for key in saved[6])]
    return ":".join(f"{number:x}" for number in numbers)
