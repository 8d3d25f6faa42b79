"""A machine whose guest attacks it, one beside it that works, and what is measured of both meanwhile."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from tests.guest.measured import Answers, Machine
from tests.guest.pauses import Pauses
from tests.guest.prey import DISK

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.guest.prey import Prey

ANSWER_S = 0.1
GROWTH_KIB = 1024
CONTROL_SHARE = 0.1  # of a CPU, with some 20 questions a second to answer
GAP_S = 2
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

    def __init__(self, prey: Prey, seed: int, rounds: int, *, timeout: float) -> None:
        self.prey = prey
        words = f"{seed} {rounds} {int(prey.takes_interrupts)}"
        self._made = time.monotonic()
        self.attacked = Machine(
            prey.folder, "attack", words, cpus=2, devices=prey.equipment(), timeout=timeout
        )
        beside = prey.folder / "neighbour"
        self.neighbour = Machine(beside, "work", "", cpus=1, devices=DISK, timeout=timeout)
        self._pauses = Pauses()
        self.answers = Answers(self.attacked, self._pauses)
        self.neighbours_answers = Answers(self.neighbour, self._pauses)
        self.private_kib: list[int] = []
        self.control_share = 0.0  # of a CPU that the control thread took
        self.names: set[str] = set()
        self.most_threads = 0
        self.seconds = 0.0
        self.longest_gap_s = 0.0  # between two signs of life of the neighbour, without its waiting for a CPU
        self._alive = (0, 0.0)
        self.frames: list[int] = []  # that each card took of its tap, and gave to it
        self.status = -1
        self.errors = ""
        self.log = ""
        self.log_s = 0.0  # how long it was written

    def __enter__(self) -> Attack:
        self._pauses.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in (self.attacked, self.neighbour):
            machine.__exit__(kind, value, trace)
        self._pauses.__exit__(kind, value, trace)
        self.prey.close()

    def watch(self, seconds: float) -> None:
        """Ask and measure until the attack is over, or for so long."""
        client = Neighbour(self.attacked.folder / "c0")
        begin, ran = time.monotonic(), self.attacked.control.times()[0]
        turn = 0
        while time.monotonic() - begin < seconds and not self._is_done():
            self.prey.bother()
            client.bother(turn)
            command, arguments = QUESTIONS[turn % len(QUESTIONS)]
            self.answers.ask(command, **arguments)
            self.neighbours_answers.ask("query-status")
            self._hear_neighbour()
            self._look(turn)
            self._pauses.look()
            turn += 1
            time.sleep(self.prey.tick_s)
        self.seconds = time.monotonic() - begin
        self.control_share = (self.attacked.control.times()[0] - ran) / self.seconds
        client.leave()

    def end(self) -> None:
        """End the attacked machine as its user does."""
        self.frames = self.prey.frames()
        self.attacked.qmp.call("quit")
        self.status, _, self.errors = self.attacked.vmm.finish()
        self.log_s = time.monotonic() - self._made
        self.log = self.attacked.log_text()

    def marks(self, kind: bytes) -> int:
        """Return the newest number of a kind that the attacking guest said; 0 for none."""
        return max(self.attacked.marks(kind), default=0)

    def strangers(self) -> set[str]:
        """Return the names of threads that are nobody's who may work for the guest."""
        return {name for name in self.names if not name.startswith(self.prey.threads)}

    def check(self) -> None:
        """Assert that nothing came of it but work for vCPUs and I/O threads."""
        settled = self.private_kib[len(self.private_kib) // 4 :]
        assert (self.status, b"broken" in self.neighbour.vmm.output) == (0, False), self.errors
        assert self.answers.worst() < (ANSWER_S, "")
        assert self.neighbours_answers.worst() < (ANSWER_S, "")
        assert self.longest_gap_s < GAP_S
        assert max(settled) - settled[0] < GROWTH_KIB
        assert len(self.log.splitlines()) <= self.lines_at_most()
        assert self.strangers() == set()
        assert self.control_share < CONTROL_SHARE

    def lines_at_most(self) -> float:
        """Return how long the log may be: ten lines in ten seconds, and one that counts what was left out."""
        return 11 * (self.log_s / 10 + 1)

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
