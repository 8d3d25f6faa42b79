"""Runs the process in the background (guidebook, 4.1). The parent ends when the machine runs, or fails.

Parent and child are connected by a pair of sockets, not by a pipe: a parent that does not wait any longer
shuts its end, and from then on the child cannot say any more that the machine runs. So either both think
that it does, or neither.
"""

from __future__ import annotations

import os
from _socket import AF_UNIX, MSG_PEEK, SHUT_RD, SOCK_STREAM, socketpair

from stratovirt import log
from stratovirt.control import signals
from stratovirt.control.signals import Interrupted
from stratovirt.errors import HostError, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import NoReturn

# The child's last word to its parent; none at all when it was killed.
_RUNS = b"1"
_FAILED = b"0"
_INTERRUPTED = b"s"
_KILLED = b""

_GIVEN_UP = """\
stratovirt: interrupted before the machine ran; its start is given up
  hint: start it again
"""
_TEXTS = {
    _KILLED: """\
stratovirt: the process in the background ended before the machine ran, and could not say why
  hint: was it killed, or out of memory? The host's log knows (dmesg)
""",
    _INTERRUPTED: """\
stratovirt: a signal ended the process in the background before the machine ran
  hint: start it again
""",
}
_PATIENCE_MS = 5000  # how long a parent that was interrupted waits for the start to be undone


class Daemon:
    """The process in the background, until its parent has been told."""

    def __init__(self, report: int) -> None:
        self._report = report
        self._null = -1
        self.has_told = False  # that the machine runs

    def leave(self) -> None:
        """Begin a session of our own, in a process that can never get a terminal."""
        try:
            os.setsid()
            if os.fork():
                os._exit(0)
            self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _refused(error) from error

    def runs(self) -> None:
        """Let go of the parent's terminal, and let the parent end well. Until now errors were seen there.

        A parent that is gone, or was interrupted, has given the start up: no machine runs that nobody knows.
        """
        for fd in {0, 1, 2} - {self._null}:  # it is one of them when that was closed
            os.dup2(self._null, fd, inheritable=False)  # no program is executed any more
        if self._null > 2:
            os.close(self._null)
        try:
            os.write(self._report, _RUNS)
            self.has_told = True
        except ConnectionError:
            raise Interrupted(signals.HANGUP) from None
        finally:
            os.close(self._report)
            self._report = -1

    def ends(self, word: bytes) -> None:
        """Let the parent know, if it still waits, that whatever happened has been said."""
        if self._report < 0:
            return
        try:
            os.write(self._report, word)
        except OSError:
            return  # it is gone, and must not take the place of what went wrong


def in_background(start: Callable[[Callable[[], None]], int]) -> int:
    """Start in a session of our own, in a process that can never get a terminal; the parent waits.

    Before the first thread. Descriptors, folder and umask stay as they are. `start` is given what it has to
    call when the machine runs. The parent never returns.
    """
    daemon = _detached()
    word = _INTERRUPTED
    try:
        daemon.leave()
        status = start(daemon.runs)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it before the parent ends
        word = _FAILED
        failure = told(error)
        log.report(failure)
        return failure.exit_status
    else:
        return status if daemon.has_told else 1
    finally:
        daemon.ends(word)


def _detached() -> Daemon:
    """Return in a child; signals wait there until release()."""
    signals.hold()
    try:
        result, report = socketpair(AF_UNIX, SOCK_STREAM)
        child = os.fork()
    except OSError as error:
        raise _refused(error) from error
    if child:
        _close(report)
        _end_as_told(result, child)
    _close(result)
    return Daemon(report.detach())


def _close(end: socket) -> None:
    """Close an end that is the other process's; what the host says to that changes nothing."""
    try:
        end.close()
    except OSError:
        return


def _refused(error: OSError) -> HostError:
    return HostError("go into the background", error, "may this user have more processes?")


def _end_as_told(result: socket, child: int) -> NoReturn:
    """Wait for the machine to run, or for its process to end: what went wrong it has said itself."""
    word = _KILLED
    interrupted = False
    try:
        signals.release()
        word = result.recv(1, MSG_PEEK)  # it stays there for whoever is interrupted at this very moment
        signals.hold()
    except (Interrupted, OSError):
        signals.hold()
        interrupted = True
        result.shutdown(SHUT_RD)
        word = result.recv(1)
    if interrupted and word == _KILLED:  # it has said nothing so far, and can no longer
        _say(_GIVEN_UP)
        _undo(result, child)
    elif word in _TEXTS:
        _say(_TEXTS[word])
    os._exit(0 if word == _RUNS else 1)


def _say(text: str) -> None:
    try:
        os.write(2, text.encode())
    except OSError:
        return  # nobody reads it


def _undo(result: socket, child: int) -> None:
    """Ask the start to end now, not only when the machine would run, and wait until it is undone."""
    from select import poll

    for kill in (os.killpg, os.kill):  # the child may not have a session of its own yet
        try:
            kill(child, signals.TERMINATION)
        except ProcessLookupError:
            continue
        break
    waiting = poll()
    waiting.register(result.fileno(), 0)  # a hang-up is told all the same
    waiting.poll(_PATIENCE_MS)
