"""Runs the process in the background (guidebook, 4.1). The parent ends when the machine runs, or fails."""

from __future__ import annotations

import os

from stratovirt.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_RUNS = b"1"
_FAILED = b"0"
_KILLED = """\
stratovirt: the process in the background ended before the machine ran, and could not say why
  hint: was it killed, or out of memory? The host's log knows (dmesg)
"""


class Daemon:
    """The process in the background, until its parent has been told."""

    def __init__(self, report: int) -> None:
        self._report = report
        self._null = -1

    def leave(self) -> None:
        """Begin a session of our own, in a process that can never get a terminal."""
        os.setsid()
        if os.fork():
            os._exit(0)
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def runs(self) -> None:
        """Let go of the parent's terminal, and let the parent end well. Until now errors were seen there."""
        for fd in {0, 1, 2} - {self._null}:  # it is one of them when that was closed
            os.dup2(self._null, fd, inheritable=False)  # no program is executed any more
        if self._null > 2:
            os.close(self._null)
        try:
            os.write(self._report, _RUNS)
        except BrokenPipeError:
            return  # somebody has ended the parent, and the machine runs
        finally:
            os.close(self._report)
            self._report = -1

    def ends(self) -> None:
        """Let the parent know, if it still waits, that whatever happened has been, or will be, said."""
        if self._report >= 0:
            os.write(self._report, _FAILED)


def detach() -> Daemon:
    """Return in a session of our own, in a process that can never get a terminal; the parent waits.

    Before the first thread. Descriptors, folder and umask stay as they are.
    """
    try:
        result, report = os.pipe2(os.O_CLOEXEC)
        if os.fork():
            os.close(report)
            _end_as_told(result)
    except OSError as error:
        raise _refused(error) from error
    daemon = Daemon(report)
    try:
        os.close(result)
        daemon.leave()
    except OSError as error:
        daemon.ends()
        raise _refused(error) from error
    return daemon


def _refused(error: OSError) -> HostError:
    return HostError("go into the background", error, "may this user have more processes?")


def _end_as_told(result: int) -> NoReturn:
    """Wait for the machine to run, or for its process to end: what went wrong it has said itself."""
    word = os.read(result, 1)
    if not word:
        os.write(2, _KILLED.encode())
    os._exit(0 if word == _RUNS else 1)
