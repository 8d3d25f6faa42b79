"""The command. A leading dash or `run` starts a machine by the short path; any other word goes to app.py.

The short path imports only what the first guest instruction needs, which tests/contract/test_boot_path.py
holds it to.
"""

from __future__ import annotations

import gc
import sys
from posix import _exit, write

try:
    from stratovirt import image

    image.use()  # before anything that may come from it

    from stratovirt import log
    from stratovirt.errors import HostError, StratovirtError, UsageError, told
except (ImportError, OSError) as unreadable:
    write(2, f"stratovirt: load the program: {unreadable}\n  hint: install the package again\n".encode())
    _exit(1)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    import signal as _signal
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn
else:
    import _signal  # as in control.signals

# Long options of the cold program; the machine's own flags have one dash.
APP_OPTIONS = ("--help", "--version", "--install-completion", "--show-completion")


def main() -> NoReturn:
    """Run the command and exit with its status."""
    # What a start makes lives as long as the machine: looking for garbage among it costs 1 ms and finds none.
    gc.disable()
    status = _guarded(lambda: dispatch(sys.argv[1:]))
    status = _guarded(_write_standard_output) or status
    # Nothing is left to finish: interpreter shutdown would only cost time.
    _exit(status)


def _guarded(step: Callable[[], int]) -> int:
    """Do a step and return the exit status, whatever became of it."""
    try:
        return step()
    except StratovirtError as error:
        if error.exit_status == 0:  # -help and -version: an answer, not a failure
            answer = f"{error.message}\n"
            return _guarded(lambda: _write_standard_output(answer))
        log.report(error)
        return error.exit_status
    except (BrokenPipeError, KeyboardInterrupt) as end:
        return 1 if isinstance(end, BrokenPipeError) else 128 + 2  # as a shell tells of SIGINT
    except SystemExit as end:  # completion's
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:  # noqa: BLE001 - a user gets words, whatever it is
        log.report(told(error))
        return 1


def _write_standard_output(answer: str = "") -> int:
    """Write an answer, or what Python still has of what was printed; its name is what errors say."""
    if answer:
        write(1, answer.encode())
    elif sys.stdout is not None:  # as it is when it was closed before we came
        sys.stdout.flush()
    return 0


def dispatch(argv: list[str]) -> int:
    """Do what the words ask for; return the exit status."""
    if argv[:1] == ["run"]:
        _set_interrupt(_signal.SIG_DFL)
        return _run_profile(argv[1:])
    if argv and argv[0].startswith("-") and argv[0] not in APP_OPTIONS and argv[0] != "-":
        _set_interrupt(_signal.SIG_DFL)
        return _run_flags(argv)
    _set_interrupt(_signal.default_int_handler)
    from stratovirt.app import main as app_main

    return app_main(argv)


def _set_interrupt(what: signal.Handlers | Callable[[int, FrameType | None], None]) -> None:
    """Choose what Ctrl-C does, unless it is ignored.

    It ends a start that has nothing to undo yet: Python would raise an exception, which is lost where it
    falls into a callback of Python's own, and the machine would run. Later control.signals takes over.
    """
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_IGN:
        return
    try:
        _signal.signal(_signal.SIGINT, what)
    except OSError as error:
        raise HostError("handle signals", error, "does a filter of the host forbid it?") from error


def _run_flags(argv: list[str]) -> int:
    image.preload("flags")
    from stratovirt.compat.translate import translate
    from stratovirt.start import start

    return start(translate(argv))


def _run_profile(argv: list[str]) -> int:
    if len(argv) != 1 or argv[0].startswith("-"):
        if argv in (["--help"], ["-h"]):
            from stratovirt.app import main as app_main

            return app_main(["run", "--help"])
        raise UsageError("run takes one profile", hint="stratovirt run PROFILE")
    image.preload("profile")
    from stratovirt.start import start_profile

    return start_profile(argv[0])
