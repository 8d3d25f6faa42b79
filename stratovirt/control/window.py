"""The size of our terminal's window, told to a console over QMP: its stream has no place for it."""

from __future__ import annotations

import os
import threading

from stratovirt.control.qmp.client import call
from stratovirt.errors import StratovirtError, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BEFORE, _AFTER = "unix:", ",server=on"  # of a socket in query-chardev


class Window:
    """Tells the size from a thread of its own: QMP may let us wait, and keys must not."""

    def __init__(self, fd: int, qmp: str, console: str) -> None:
        """Find the console by its socket; StratovirtError when the machine has none there."""
        self._fd = fd
        self._qmp = qmp
        self._name = _name_of(console, call(qmp, "query-chardev"))
        self._changed = threading.Event()
        # A daemon: the command ends with the console, also while a machine that is busy has not answered.
        self._thread = threading.Thread(target=self._run, name="window", daemon=True)
        self._thread.start()

    def changed(self) -> None:
        """Let the machine be told the size that the window has now."""
        self._changed.set()

    def _run(self) -> None:
        while True:
            self._changed.wait()
            self._changed.clear()
            try:
                self._tell()
            except OSError:
                return  # the terminal is gone
            except StratovirtError as error:
                warn(f"the guest is not told the size of the window: {error.message}")
                return

    def _tell(self) -> None:
        size = os.get_terminal_size(self._fd)
        arguments: dict[str, object] = {"id": self._name, "cols": size.columns, "rows": size.lines}
        call(self._qmp, "chardev-window-size-changed", arguments)


def _name_of(path: str, listed: Any) -> str:
    """Return the label of the console that listens on `path`, of what query-chardev returned."""
    sockets: dict[str, str] = {}
    for entry in listed:
        filename = entry["filename"]
        if filename.startswith(_BEFORE) and filename.endswith(_AFTER):
            sockets[filename[len(_BEFORE) : -len(_AFTER)]] = entry["label"]
    for known, label in sockets.items():
        if path == known or os.path.realpath(path) == os.path.realpath(known):
            return label
    raise StratovirtError(
        f"the machine has no console on {path}", f"its sockets: {', '.join(sockets) or 'none'}"
    )
