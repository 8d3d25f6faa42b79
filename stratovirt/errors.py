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

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class StratovirtError(Exception):
    """A failure that the user is told about: what happened to which object, and what to do next."""

    exit_status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


def warn(text: str) -> None:
    """Tell the user of something that stops nothing; without a standard error nobody is told."""
    try:
        posix.write(2, f"stratovirt: warning: {text}\n".encode(errors="replace"))
    except OSError:
        return


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
        super().__init__(call, OSError(number, posix.strerror(number)), hint)


class StateError(StratovirtError):
    """The machine is not in the run state that the request needs."""


class QmpError(StratovirtError):
    """An error reply: `kind` is the QMP error class."""

    def __init__(self, message: str, kind: str = "GenericError") -> None:
        super().__init__(message)
        self.kind = kind


class Naming:
    """A block about one object, whose name stands before what nobody foresaw the host to refuse in it."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise told(error, self._name) from error


def told(error: BaseException, name: str = "") -> StratovirtError:
    """Return what a user is told of any exception: of those that nobody foresaw, the step that failed.

    `name` is of the object that a step was about which the host refused.
    """
    if isinstance(error, StratovirtError):
        return error
    text = _text(error)
    if isinstance(error, MemoryError):
        return StratovirtError("there is no memory for the process", "raise its limit (ulimit -v, cgroup)")
    files, functions, line = _way(error)
    loading = "<module>" in functions or any(file.startswith("<frozen importlib") for file in files)
    if loading or isinstance(error, ImportError):
        hint = "can this user read the whole installed package?"
        return StratovirtError(f"load a part of the program: {text}", hint)
    if isinstance(error, OSError):
        step = functions[-1].removesuffix(".__init__").rpartition(".")[2].replace("_", " ").strip()
        if error.filename:
            step = f"{step} {error.filename}"
            action = f"{name}: {step}" if name else step
        else:
            action = f"{name} ({step})" if name else step
        return HostError(action, error, "has the process met a limit?")
    place = f"{files[-1].rpartition('/')[2]}:{line}"
    return StratovirtError(
        f"internal error at {place}: {type(error).__name__}: {text}", "this is a bug: please report it"
    )


def _text(error: BaseException) -> str:
    """Return what an exception says, on one line; of a file its name comes first, as in any other message."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _way(error: BaseException) -> tuple[list[str], list[str], int]:
    """Return file and function of each call that led to an exception, and the line of the last one."""
    files, functions, line = [""], [""], 0
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        files.append(code.co_filename)
        functions.append(code.co_qualname)
        line = trace.tb_lineno
        trace = trace.tb_next
    return files, functions, line
