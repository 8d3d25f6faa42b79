"""From a document to a served machine: build it, let it run, and only then load what serves it."""

from __future__ import annotations

import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.control.daemon import Daemon
    from stratovirt.control.listener import Listener
    from stratovirt.control.pidfile import Pidfile
    from stratovirt.document.vm import Vm
    from stratovirt.machine.machine import Machine


def start_profile(path: str) -> int:
    """Start the machine of a profile; return the exit status."""
    from stratovirt.document.loader import load_vm

    return start(load_vm(path))


def start(document: Vm) -> int:
    """Build the machine, start it, then load what serves it; return the exit status."""
    from stratovirt.control import signals

    daemon = _prepare(document)
    try:
        signals.install()
        signals.hold()
        pidfile = _claim_pidfile(document.process.pidfile)
        try:
            return _run(document, daemon)
        finally:
            if pidfile is not None:
                pidfile.close()
    except signals.Interrupted:
        return 0
    finally:
        if daemon is not None:
            daemon.ends()


def _prepare(document: Vm) -> Daemon | None:
    """Open the log, and go into the background if that is asked for: here the process has one thread."""
    if document.log is not None:
        from stratovirt import log

        log.open_log(document.log)
    if not document.process.daemonize:
        return None
    from stratovirt.control.daemon import detach

    return detach()


def _claim_pidfile(path: str | None) -> Pidfile | None:
    if path is None:
        return None
    from stratovirt.control.pidfile import Pidfile

    return Pidfile.claim(path)


def _run(document: Vm, daemon: Daemon | None) -> int:
    from stratovirt.builder.build import build
    from stratovirt.control import signals
    from stratovirt.control.listener import Listener

    listener: Listener | None = Listener.bind(document.qmp.socket) if document.qmp else None
    try:
        signals.release()
        machine = build(document)
        try:
            return _serve(machine, listener, daemon)
        except BaseException:
            machine.close()  # harmless when that was done before
            raise
    finally:
        if listener is not None:
            listener.close()


def _serve(machine: Machine, listener: Listener | None, daemon: Daemon | None) -> int:
    from stratovirt.control import signals

    signals.check()
    machine.start()
    from stratovirt.control.serve import serve

    _settle()
    if machine.document.log is not None:
        _log_start(machine.document)
    return serve(machine, listener, _in_foreground if daemon is None else daemon.runs)


def _in_foreground() -> None:
    """Tell nobody that the machine runs: whoever started it sees it."""


def _log_start(document: Vm) -> None:
    from stratovirt import log

    state = "waits for cont" if document.process.freeze else "runs"
    log.info(f"the machine {state}: {document.to_data()}")


def _settle() -> None:
    """Go from starting to running: nothing made so far becomes garbage, and few modules are still to come."""
    from stratovirt import image

    image.drop()
    gc.freeze()
    gc.enable()
