"""The commands that change the run state (guidebook, 3.3)."""

from __future__ import annotations

from stratovirt.control.qmp.events import Resume, Shutdown, Stop
from stratovirt.control.qmp.registry import Nothing, command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.control.qmp.registry import Target


@command("qmp_capabilities", Nothing)
def qmp_capabilities(_target: Target, _arguments: Nothing) -> object:
    """Begin: for clients that expect to have to; there is nothing to agree on."""
    return {}


@command("quit", Nothing)
def quit_process(target: Target, _arguments: Nothing) -> object:
    """End the process; the guest is not asked."""
    target.end(Shutdown(guest=False, reason="host-qmp-quit"))
    return {}


@command("stop", Nothing)
def stop(target: Target, _arguments: Nothing) -> object:
    """Stop all vCPUs; an error when they do not run."""
    target.machine.pause()
    target.emit(Stop())
    return {}


@command("cont", Nothing)
def cont(target: Target, _arguments: Nothing) -> object:
    """Let all vCPUs run on; an error when they are not stopped."""
    target.machine.resume()
    target.emit(Resume())
    return {}
