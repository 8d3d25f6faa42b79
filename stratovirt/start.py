"""From a document to a served machine: build it, let it run, and only then load what serves it."""

from __future__ import annotations

import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.document.vm import Vm


def start_profile(path: str) -> int:
    """Start the machine of a profile; return the exit status."""
    from stratovirt.document.loader import load_vm

    return start(load_vm(path))


def start(document: Vm) -> int:
    """Build the machine, start it, then load what serves it; return the exit status."""
    from stratovirt.builder.build import build
    from stratovirt.control import signals
    from stratovirt.control.listener import Listener

    signals.install()
    try:
        listener = Listener.bind(document.qmp.socket) if document.qmp else None
        try:
            machine = build(document)
            machine.start()
            from stratovirt.control.serve import serve

            _settle()
            return serve(machine, listener)
        finally:
            if listener is not None:
                listener.close()
    except signals.Interrupted:
        return 0


def _settle() -> None:
    """Go from starting to running: nothing made so far becomes garbage, and few modules are still to come."""
    from stratovirt import image

    image.drop()
    gc.freeze()
    gc.enable()
