"""The keys that a terminal's user keeps for this process: Ctrl-A and one more."""

from __future__ import annotations

PREFIX = b"\x01"


class Words:
    """What the user is told: `notice` at the beginning, `help` when asked."""

    def __init__(self, leaves: str, leave: str) -> None:
        self.notice = f"stratovirt: Ctrl-A x {leaves}, Ctrl-A h shows help\n"
        self.help = f"""
  Ctrl-A x       {leave}
  Ctrl-A Ctrl-A  send Ctrl-A to the guest
  Ctrl-A h       show this help
"""


MACHINE = Words("ends the machine", "end the machine, as QMP's quit does")
CONSOLE = Words("leaves the console", "leave the console; the machine runs on")


class Escape:
    """Finds the keys in what is typed, across reads."""

    def __init__(self) -> None:
        self._prefixed = False

    def filter(self, typed: bytes) -> tuple[bytes, str]:
        """Return what is for the guest, and the letters that were for this process."""
        guest = bytearray()
        letters = ""
        for key in (typed[i : i + 1] for i in range(len(typed))):
            if not self._prefixed:
                self._prefixed = key == PREFIX
                guest += b"" if self._prefixed else key
                continue
            self._prefixed = False
            if key in {b"x", b"h"}:
                letters += key.decode()
            else:
                # Any other key is for the guest, together with the Ctrl-A that was meant for it.
                guest += key if key == PREFIX else PREFIX + key
        return bytes(guest), letters
