"""The log: five levels, one line for each record, in the original's shape or as JSON (`logging` costs 16 ms).

    2026-11-26T00:20:01.123456789: [pid][tid]:INFO: text
    2026-11-26T00:20:01.123456789: [pid][tid][file: line]:ERROR: text

Nothing is written before open_log(): without -D there is no log. Who reads which level: error, an action of
the user did not happen; warn, odd and harmless; info, what a machine and its clients do; debug, the steps of
this program; trace, those of the guest's drivers. From info on a log holds what the user and clients said,
whatever that was (docs/log.md).
"""

from __future__ import annotations

import posix
import sys
from _thread import get_native_id
from time import localtime, strftime, time_ns

from stratovirt.errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.document.sections import Log
    from stratovirt.errors import StratovirtError

LEVELS = ("error", "warn", "info", "debug", "trace")
VARIABLE = "STRATOVIRT_LOG_LEVEL"
LONGEST = 4096  # characters of a record; a client's message may be longer
STDERR = 2


class _State:
    """Where records go; `threshold` is -1 while nothing is logged."""

    fd = STDERR
    path = ""
    threshold = -1
    json = False


_state = _State()


def open_log(log: Log) -> None:
    """Begin to log as the document says; the level of the environment wins."""
    from os import environ

    wanted = environ.get(VARIABLE, "").lower()
    _state.threshold = LEVELS.index(wanted if wanted in LEVELS else log.level)
    _state.json = log.format == "json"
    _state.path = log.file or ""
    try:
        reopen()
    except HostError:
        _state.threshold, _state.path = -1, ""
        raise


def reopen() -> None:
    """Open the file anew: somebody has moved it away. Without a file nothing happens."""
    if not _state.path:
        return
    flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOCTTY
    try:
        fd = posix.open(_state.path, flags | posix.O_NONBLOCK, 0o640)  # a pipe that nobody reads is refused
        posix.set_blocking(fd, True)
    except OSError as error:
        raise HostError(f"open log {_state.path}", error, hint="name a file that can be written") from error
    if _state.fd == STDERR:
        _state.fd = fd
        return
    posix.dup2(fd, _state.fd, inheritable=False)  # others know the descriptor by its number
    posix.close(fd)


def has_file() -> bool:
    """Tell whether records go to a file."""
    return bool(_state.path)


def target() -> tuple[int, bool]:
    """Return the descriptor that records go to, for good, or -1; and whether they are JSON."""
    return _state.fd if _state.threshold >= 0 else -1, _state.json


def utc_offset() -> int:
    """Return how far local time, in which records are, is from UTC at present, in seconds."""
    return localtime().tm_gmtoff


def is_on(level: str) -> bool:
    """Tell whether records of a level are written: to save the work of making them."""
    return LEVELS.index(level) <= _state.threshold


def error(text: str) -> None:
    """Log that something the user wanted did not happen."""
    _write("error", text)


def warn(text: str) -> None:
    """Log what is odd and harmless."""
    _write("warn", text)


def info(text: str) -> None:
    """Log what the machine or a client did."""
    _write("info", text)


def debug(text: str) -> None:
    """Log a step of this program; callers ask is_on() before they make the text."""
    _write("debug", text)


def trace(text: str) -> None:
    """Log what a guest's driver did; callers ask is_on() before they make the text."""
    _write("trace", text)


def report(failure: StratovirtError) -> None:
    """Tell the user of a failure; a log is told too, and where it is standard error nothing is said twice."""
    error(f"{failure.message} ({failure.hint})" if failure.hint else failure.message)
    if not has_file() and is_on("error"):
        return
    lines = f"stratovirt: {failure.message}\n"
    if failure.hint:
        lines += f"  hint: {failure.hint}\n"
    posix.write(STDERR, lines.encode(errors="replace"))


def _write(level: str, text: str) -> None:
    if not is_on(level):
        return
    line = _as_json(level, text) if _state.json else _as_text(level, text)
    try:
        posix.write(_state.fd, line.encode(errors="replace"))
    except OSError:
        return  # a full disk must not end a machine


def _when() -> str:
    seconds, nanoseconds = divmod(time_ns(), 10**9)
    return f"{strftime('%Y-%m-%dT%H:%M:%S', localtime(seconds))}.{nanoseconds:09}"


def _as_text(level: str, text: str) -> str:
    place = f"[{_caller()}]" if level == "error" else ""
    return f"{_when()}: [{posix.getpid()}][{get_native_id()}]{place}:{level.upper()}: {_one_line(text)}\n"


def _as_json(level: str, text: str) -> str:
    import json

    record = {
        "time": _when(),
        "level": level,
        "pid": posix.getpid(),
        "tid": get_native_id(),
        "message": text[:LONGEST],
    }
    return json.dumps(record) + "\n"


def _caller() -> str:
    frame = sys._getframe(4)  # noqa: SLF001 - whoever called error()
    return f"{frame.f_code.co_filename.rpartition('/')[2]}: {frame.f_lineno}"


def _one_line(text: str) -> str:
    """Return text as one record: whoever wrote parts of it cannot forge another."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[:LONGEST])
    return shown if len(text) <= LONGEST else f"{shown}..."
