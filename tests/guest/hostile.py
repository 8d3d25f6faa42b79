"""A machine whose guest attacks it, one beside it that works, and what is measured of both meanwhile."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from tests.guest.measured import Answers, Machine

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

TICK_S = 0.05
DISK = """
[drive.d0]
file = "{folder}/d0"
direct = false
"""
# The spare slots of disks and cards are attacked too.
DEVICES = (
    DISK
    + """
[iothread.io1]
[drive.d1]
file = "{folder}/d1"
direct = false
iothread = "io1"
[console.c0]
path = "{folder}/c0"
[vsock]
guest_cid = 7
backend = "unix"
socket = "{folder}/vs"
[rng]
file = "/dev/urandom"
[balloon]
"""
)
OWN_THREADS = ("CPU ", "io1", "io-main", "iou-wrk-", "iou-sqp-", "kvm-")  # kvm-: of the host's kernel


class Tap:
    """A tap for the attacked card, where the host lets us have one."""

    def __init__(self) -> None:
        self.name = f"svh{os.getpid() % 100000}"
        self._made = self._ip("tuntap", "add", self.name, "mode", "tap") and self._ip(
            "link", "set", self.name, "up"
        )
        self._packets: socket.socket | None = None

    def table(self) -> str:
        return f'[net.n0]\ntap = "{self.name}"\n' if self._made else ""

    def send(self) -> None:
        """Have the host send a frame to the guest; nobody may be there to take it."""
        if not self._made:
            return
        if self._packets is None:
            self._packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            self._packets.bind((self.name, 0))
        try:
            self._packets.send(b"\xff" * 12 + b"\x88\xb5" + os.urandom(1000), socket.MSG_DONTWAIT)
        except OSError:
            return

    def delete(self) -> None:
        if self._packets is not None:
            self._packets.close()
        if self._made:
            self._ip("link", "delete", self.name)

    @staticmethod
    def _ip(*words: str) -> bool:
        try:
            return subprocess.run(["ip", *words], check=False, capture_output=True).returncode == 0
        except FileNotFoundError:
            return False


# What a client asks of a machine meanwhile; the guest may have broken what some of them ask of.
QUESTIONS: tuple[tuple[str, dict[str, object]], ...] = (
    ("query-status", {}),
    ("query-iothreads", {}),
    ("query-cpus-fast", {}),
    ("query-balloon", {}),
    ("query-balloon-stats", {}),
    ("balloon", {"value": 200 << 20}),
    ("query-block", {}),
    ("stop", {}),
    ("cont", {}),
)


class Neighbour:
    """The console's client: it writes, reads a little, and goes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def bother(self, turn: int) -> None:
        if self._socket is None or turn % 40 == 0:
            self.leave()
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.setblocking(False)  # noqa: FBT003
            try:
                self._socket.connect(str(self._path))
            except BlockingIOError:
                self.leave()
                return
        try:
            self._socket.send(b"hello" * 100)
            self._socket.recv(100)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return

    def leave(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


class Attack:
    """A machine under attack for a while or until its guest is done, its neighbour, and what was measured."""

    def __init__(self, folder: Path, seed: int, rounds: int, *, timeout: float) -> None:
        self._tap = Tap()
        devices = DEVICES + self._tap.table()
        self.attacked = Machine(
            folder / "attacked", "attack", f"{seed} {rounds}", cpus=2, devices=devices, timeout=timeout
        )
        self.neighbour = Machine(folder / "neighbour", "work", "", cpus=1, devices=DISK, timeout=timeout)
        self._streams = socket.socket(
            socket.AF_UNIX
        )  # connects to a guest's streams, and never looks at them
        self._streams.bind(str(folder / "attacked" / "vs_52"))
        self._streams.listen(4)
        self.answers = Answers(self.attacked)
        self.neighbours_answers = Answers(self.neighbour)
        self.private_kib: list[int] = []
        self.control_share = 0.0  # of a CPU that the control thread took
        self.names: set[str] = set()
        self.most_threads = 0
        self.seconds = 0.0
        self.longest_gap_s = 0.0  # between two signs of life of the neighbour, without its waiting for a CPU
        self._alive = (0, 0.0)
        self.status = -1
        self.errors = ""
        self.log = ""

    def __enter__(self) -> Attack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in (self.attacked, self.neighbour):
            machine.__exit__(kind, value, trace)
        self._streams.close()
        self._tap.delete()

    def watch(self, seconds: float) -> None:
        """Ask and measure until the attack is over, or for so long."""
        client = Neighbour(self.attacked.folder / "c0")
        begin, ran = time.monotonic(), self.attacked.control.times()[0]
        turn = 0
        while time.monotonic() - begin < seconds and not self._is_done():
            self._tap.send()
            client.bother(turn)
            command, arguments = QUESTIONS[turn % len(QUESTIONS)]
            self.answers.ask(command, **arguments)
            self.neighbours_answers.ask("query-status")
            self._hear_neighbour()
            self._look(turn)
            turn += 1
            time.sleep(TICK_S)
        self.seconds = time.monotonic() - begin
        self.control_share = (self.attacked.control.times()[0] - ran) / self.seconds
        client.leave()

    def end(self) -> None:
        """End the attacked machine as its user does."""
        self.attacked.qmp.call("quit")
        self.status, _, self.errors = self.attacked.vmm.finish()
        self.log = self.attacked.log_text()

    def marks(self, kind: bytes) -> int:
        """Return the newest number of a kind that the attacking guest said; 0 for none."""
        return max(self.attacked.marks(kind), default=0)

    def lines_at_most(self) -> float:
        """Return how long the log may be: ten lines in ten seconds, and one that counts what was left out."""
        return 11 * (self.seconds / 10 + 2)

    def _is_done(self) -> bool:
        self.attacked.vmm.read_available()
        self.neighbour.vmm.read_available()
        return bool(self.attacked.marks(b"sound "))

    def _hear_neighbour(self) -> None:
        now = time.monotonic() - self.neighbour.waited(with_others=True)
        done, before = self._alive
        marks = self.neighbour.marks(b"done ")
        if done:
            self.longest_gap_s = max(self.longest_gap_s, now - before)
        if marks and marks[-1] != done:
            self._alive = (marks[-1], now)

    def _look(self, turn: int) -> None:
        if turn % 20 == 0:
            self.private_kib.append(self.attacked.private_kib())
        threads = self.attacked.threads()
        self.names |= threads.keys()
        self.most_threads = max(self.most_threads, sum(threads.values()))
