"""A terminal with a user at it."""

from __future__ import annotations

import os
import pty
import select
import termios
import time
from typing import TYPE_CHECKING

from tests.unit.control.served import TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Screen:
    """A terminal: `keyboard` is the user's side, `line` the process's."""

    def __init__(self) -> None:
        self.keyboard, self.line = pty.openpty()
        self.before = self.mode()

    def mode(self) -> list[Any]:
        return list(termios.tcgetattr(self.line))

    @property
    def is_raw(self) -> bool:
        lflag = termios.tcgetattr(self.line)[3]
        return not lflag & (termios.ICANON | termios.ECHO | termios.ISIG)

    def resize(self, cols: int, rows: int) -> None:
        termios.tcsetwinsize(self.keyboard, (rows, cols))

    def type(self, keys: bytes) -> None:
        os.write(self.keyboard, keys)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait for somebody else to change the mode, which tells nobody."""
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline
            select.select([], [], [], 0.005)

    def close(self) -> None:
        for fd in (self.keyboard, self.line):
            if fd >= 0:
                os.close(fd)
