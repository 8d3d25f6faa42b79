"""From a document to a served machine: build it, let it run, and only then load what serves it."""

from __future__ import annotations

import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.control.listener import Listener
    from stratovirt.control.pidfile import Pidfile
    from stratovirt.document.vm import Vm
    from stratovirt.machine.machine import Machine


def start_profile(path: str) -> int:
    """Start the machine of a profile; return the exit status."""
    from stratovirt.document.loader import load_vm

    return start(load_vm(path))


def start(document: Vm) -> int:
    """Build the machine, start it, then load what serves it; return the exit status.

    In the background the parent does not return: it ends when the machine runs, or has failed.
    """
    from stratovirt.control import signals

    background = document.process.daemonize
    try:
        signals.install()
        _open_log(document)
        if not background:
            return _start(document, _in_foreground)
        from stratovirt.control.daemon import in_background

        return in_background(lambda runs: _start(document, runs))
    except signals.Interrupted:
        return int(background)  # where 0 says that the machine runs


def _open_log(document: Vm) -> None:
    if document.log is not None:
        from stratovirt import log

        log.open_log(document.log)


def _start(document: Vm, runs: Callable[[], None]) -> int:
    """Start in the process that serves; `runs` is called when everything stands."""
    from stratovirt.control import signals

    signals.hold()
    pidfile = _claim_pidfile(document.process.pidfile)
    try:
        return _run(document, runs)
    finally:
        if pidfile is not None:
            pidfile.close()


def _claim_pidfile(path: str | None) -> Pidfile | None:
    if path is None:
        return None
    from stratovirt.control.pidfile import Pidfile

    return Pidfile.claim(path)


def _run(document: Vm, runs: Callable[[], None]) -> int:
    from stratovirt.builder.build import build
    from stratovirt.control import signals
    from stratovirt.control.listener import Listener

    listener: Listener | None = Listener.bind(document.qmp.socket) if document.qmp else None
    if listener is not None and document.log is not None:
        from stratovirt import log

        log.debug(f"QMP socket {listener.path}: listens")
    try:
        signals.release()
        machine = build(document)
        try:
            return _serve(machine, listener, runs)
        except BaseException:
            machine.close()  # harmless when that was done before
            raise
    finally:
        if listener is not None:
            listener.close()


def _serve(machine: Machine, listener: Listener | None, runs: Callable[[], None]) -> int:
    from stratovirt.control import signals

    signals.check()
    machine.start()
    from stratovirt.control.serve import serve

    _settle()
    if machine.document.log is not None:
        _log_start(machine.document)
    return serve(machine, listener, runs)


def _in_foreground() -> None:
    """Tell nobody that the machine runs: whoever started it sees it."""


def _log_start(document: Vm) -> None:
    from stratovirt import log

    state = "waits for cont" if document.process.freeze else "runs"
    data = document.to_data()
    if document.boot.cmdline is not None:  # it may hold what nobody else is to read
        data["boot"] = {**data["boot"], "cmdline": f"({len(document.boot.cmdline)} characters)"}
    log.info(f"the machine {state}: {data}")


def _settle() -> None:
    """Go from starting to running: nothing made so far becomes garbage, and few modules are still to come."""
    from stratovirt import image

    image.drop()
    gc.freeze()
    gc.enable()
