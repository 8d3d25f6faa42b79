"""Consoles: the size of the window at their other end, which no stream can carry (VIRTIO 1.2, 5.3.4)."""

from __future__ import annotations

from stratovirt.control.qmp.registry import command
from stratovirt.errors import QmpError
from stratovirt.record import Record, integer, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from stratovirt.control.qmp.registry import Target

    class LiveConsole(Protocol):
        """What a console lets commands do."""

        def resize(self, cols: int, rows: int) -> None:
            """Tell the guest how large the window is; 0 by 0 when that is not known."""


class Window(Record):
    """The arguments of `chardev-window-size-changed`."""

    id: str = text("Name of the console", max_length=255)
    cols: int = integer("Characters in a line", minimum=0, maximum=0xFFFF)
    rows: int = integer("Lines", minimum=0, maximum=0xFFFF)


@command("chardev-window-size-changed", Window)
def window_size_changed(target: Target, arguments: Window) -> object:
    """Tell the guest how large the window of a console's client is; 0 by 0 when that is not known."""
    console: LiveConsole | None = target.machine.live("console", arguments.id)  # type: ignore[assignment]
    if console is None or not arguments.id:
        raise QmpError(f"Console '{arguments.id}' not found")
    console.resize(arguments.cols, arguments.rows)
    return {}
