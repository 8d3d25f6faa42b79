"""What can go wrong, as a tree.

StratovirtError                  exit 1; shown as "stratovirt: message" and "  hint: next step"
  UsageError                     exit 2; a flag or an argument that is wrong
  DocumentError                  exit 1; the document says something that cannot be
  HostError                      the host refused something we tried
    CoreError                    the C core refused
  StateError                     not possible in this run state
  QmpError                       shown to the QMP client as it is

A guest's misbehaviour is not an exception: it is a counter, one event and a device that needs a reset.
"""

from __future__ import annotations

import os


class StratovirtError(Exception):
    """A failure that the user is told about: what happened to which object, and what to do next."""

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class UsageError(StratovirtError):
    """The command line is wrong."""

    exit_status = 2


class DocumentError(StratovirtError):
    """The document says something that cannot be; `path` is where in the document."""

    def __init__(self, message: str, path: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.path = path


class HostError(StratovirtError):
    """The host refused: `action` names what we tried and on which object."""

    def __init__(self, action: str, error: OSError, hint: str = "") -> None:
        super().__init__(f"{action}: {error.strerror or error}", hint)
        self.errno = error.errno


class CoreError(HostError):
    """The C core refused a call with -errno."""

    def __init__(self, call: str, code: int, hint: str = "") -> None:
        number = abs(code)
        super().__init__(call, OSError(number, os.strerror(number)), hint)


class StateError(StratovirtError):
    """The machine is not in the run state that the request needs."""


class QmpError(StratovirtError):
    """An error reply: `kind` is the QMP error class."""

    def __init__(self, message: str, kind: str = "GenericError") -> None:
        super().__init__(message)
        self.kind = kind


def internal(error: BaseException) -> str:
    """Return one line about a mistake in this program."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        place = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        trace = trace.tb_next
    text = " ".join(str(error).split())
    return f"internal error at {place}: {type(error).__name__}: {text}"
