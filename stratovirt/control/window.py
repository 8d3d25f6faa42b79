"""The size of our terminal's window, told to a console over QMP: its stream has no place for it."""

from __future__ import annotations

import os
import threading
from typing import cast

from stratovirt.control.qmp.client import call
from stratovirt.errors import StratovirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BEFORE, _AFTER = "unix:", ",server=on"  # of a socket in query-chardev
_QMP = "compat_monitor0"  # the label that QMP's own socket has there


class Window:
    """Tells each size from a thread of its own: QMP may let us wait, and keys must not."""

    def __init__(self, fd: int, qmp: str, console: str, complain: Callable[[str], None]) -> None:
        """Ask QMP, here, which console has the socket; StratovirtError when none has."""
        self._fd = fd
        self._qmp = qmp
        self._complain = complain  # about the first size that could not be told
        self._name = _name_of(console, call(qmp, "query-chardev"))
        self._changed = threading.Event()
        threading.Thread(target=self._run, name="window", daemon=True).start()

    def changed(self) -> None:
        """Let the machine be told the size that the window has now."""
        self._changed.set()

    def _run(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            try:
                size = os.get_terminal_size(self._fd)
            except OSError:
                return  # the terminal is gone
            self._tell(size.columns, size.lines)

    def _tell(self, cols: int, rows: int) -> None:
        arguments: dict[str, object] = {"id": self._name, "cols": cols, "rows": rows}
        try:
            call(self._qmp, "chardev-window-size-changed", arguments)
        except (StratovirtError, OSError) as error:
            complain, self._complain = self._complain, _say_nothing
            complain(f"the guest was not told the size of the window: {error}")


def _say_nothing(_text: str) -> None:
    """Say nothing: what may last has been told."""


def _name_of(path: str, listed: object) -> str:
    """Return the label of the console that listens on `path`, of what query-chardev returned."""
    sockets: dict[str, str] = {}
    for entry in cast("list[dict[str, str]]", listed):
        filename, label = entry["filename"], entry["label"]
        if filename.startswith(_BEFORE) and filename.endswith(_AFTER) and label != _QMP:
            sockets[filename[len(_BEFORE) : -len(_AFTER)]] = label
    for known, label in sockets.items():
        if path == known or os.path.realpath(path) == os.path.realpath(known):
            return label
    known_ones = ", ".join(sockets) or "none"
    hint = f"its consoles: {known_ones}; a relative one counts from the machine's folder, so go there"
    raise StratovirtError(f"the machine has no console on {path}", hint)
