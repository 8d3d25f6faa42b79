"""Runs the process in the background (guidebook, 4.1). The parent ends when the machine runs, or fails."""

from __future__ import annotations

import os

from stratovirt.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_RUNS = b"1"


class Daemon:
    """The process in the background, until its parent has been told."""

    def __init__(self, report: int) -> None:
        self._report = report
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def runs(self) -> None:
        """Let go of the parent's terminal, and let the parent end well. Until now errors were seen there."""
        for fd in (0, 1, 2):
            os.dup2(self._null, fd, inheritable=False)  # no program is executed any more
        os.close(self._null)
        try:
            os.write(self._report, _RUNS)
        except BrokenPipeError:
            return  # somebody has ended the parent, and the machine runs
        finally:
            os.close(self._report)


def detach() -> Daemon:
    """Return in a session of our own, in a process that can never get a terminal; the parent waits.

    Before the first thread. Descriptors, folder and umask stay as they are.
    """
    try:
        result, report = os.pipe2(os.O_CLOEXEC)
        if os.fork():
            os.close(report)
            _end_as_told(result)
        os.close(result)
        os.setsid()
        if os.fork():
            os._exit(0)
        return Daemon(report)
    except OSError as error:
        raise HostError("go into the background", error, "may this user have more processes?") from error


def _end_as_told(result: int) -> NoReturn:
    """Wait for the machine to run, or for its process to end: what went wrong it has said itself."""
    status = 0 if os.read(result, 1) == _RUNS else 1
    os._exit(status)
