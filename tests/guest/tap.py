"""A tap of the host for a guest's card, and what passes it."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import time

ETHERTYPE = 0x88B5  # for experiments
HEADER = b"\xff" * 12 + ETHERTYPE.to_bytes(2, "big")


class Tap:
    """A tap that is up; `missing` is the reason where the host lets us have none."""

    def __init__(self, letter: str, *more: str, address: str = "") -> None:
        self.name = f"sv{letter}{os.getpid() % 100000}"
        self.missing = self._ip("tuntap", "add", self.name, "mode", "tap", *more) or self._ip(
            "link", "set", self.name, "up"
        )
        if address and not self.missing:
            self.missing = self._ip("addr", "add", address, "dev", self.name)
        self._packets: socket.socket | None = None

    def send(self) -> None:
        """Have the host send a frame to the guest; nobody may be there to take it."""
        if self.missing:
            return
        with contextlib.suppress(OSError):
            self._wire().send(HEADER + os.urandom(1000), socket.MSG_DONTWAIT)

    def echoes(self, seconds: float) -> bool:
        """Tell whether a guest sends a frame back; those that come before its link is up are lost."""
        wire, frame, end = self._wire(), HEADER + os.urandom(100), time.monotonic() + seconds
        while time.monotonic() < end:
            wire.send(frame)
            while select.select([wire], [], [], 0.05)[0]:
                if wire.recv(2048) == frame:
                    return True
        return False

    def _wire(self) -> socket.socket:
        if self._packets is None:
            self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._packets.bind((self.name, ETHERTYPE))
        return self._packets

    def frames(self) -> tuple[int, int]:
        """Return how many frames the card took of the tap, and how many came of it."""
        folder = f"/sys/class/net/{self.name}/statistics"
        with open(f"{folder}/tx_packets") as taken, open(f"{folder}/rx_packets") as came:
            return int(taken.read()), int(came.read())

    def delete(self) -> None:
        if self._packets is not None:
            self._packets.close()
        if not self.missing:
            self._ip("link", "delete", self.name)

    @staticmethod
    def _ip(*words: str) -> str:
        """Return why not."""
        try:
            run = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
        except FileNotFoundError:
            return "there is no ip (iproute2)"
        return "" if run.returncode == 0 else f"ip {words[0]} {words[1]}: {run.stderr.strip()}"
