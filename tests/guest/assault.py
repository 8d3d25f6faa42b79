"""A running machine whose clients mean no good; between them one that does is served."""

from __future__ import annotations

import math
import os
import socket
import time
from typing import TYPE_CHECKING

from tests.contract.mutations import Mutator
from tests.guest.measured import Machine, Thread
from tests.guest.vmm import Qmp

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

BATCH = 90  # messages of one client: more than a hundred at once are refused unread
LOOKED_EACH = 10  # clients; waiting for the guest to say something takes longer than they do
GROWTH_KIB = 2048
DEVICES = """
[drive.d0]
file = "{folder}/d0"
direct = false
[balloon]
[iothread.io1]
"""


class Assault:
    """Sends mutated messages, each client some of them, and measures how the next client is served."""

    def __init__(self, folder: Path, seed: int, *, timeout: float) -> None:
        self.machine = Machine(folder, "work", "", cpus=1, devices=DEVICES, timeout=timeout)
        self.machine.qmp.close()
        (folder / "more").write_bytes(bytes(1 << 20))
        strings = (str(folder / "more"), str(folder / "d1"), str(folder / "d0"), str(folder))
        self._mutator = Mutator(seed, strings * 3, leave_out=frozenset({"quit"}))
        self.messages = 0
        self.served: list[float] = []  # seconds, without what was waited for a CPU
        self.private_kib: list[int] = []
        self.descriptors: list[int] = []
        self.stalls = 0
        self.status = -1
        self.errors = ""

    def __enter__(self) -> Assault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.machine.__exit__(kind, value, trace)

    def go_on(self, *, seconds: float = math.inf, messages: float = math.inf) -> None:
        """Send for so long, or so many."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds and self.messages < messages:
            for _ in range(LOOKED_EACH):
                self._assault()
                self._be_served()
            self._look()

    def end(self) -> None:
        """End the machine as its user does."""
        qmp = Qmp(self.machine.folder / "qmp", self.machine.vmm.deadline)
        qmp.call("quit")
        qmp.close()
        self.status, _, self.errors = self.machine.vmm.finish()

    def check(self, served_s: float) -> None:
        """Assert that nothing came of it all."""
        assert (self.status, self.errors) == (0, "")
        assert "internal error" not in self.machine.log_text()
        assert b"broken" not in self.machine.vmm.output
        assert self.stalls == 0
        assert max(self.served) < served_s
        assert max(self.private_kib) - self.private_kib[0] < GROWTH_KIB
        assert max(self.descriptors) - self.descriptors[0] < 256 + 64  # named ones, and those of backends

    def _assault(self) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(self.machine.vmm.left())
            client.connect(str(self.machine.folder / "qmp"))
            null = os.open("/dev/null", os.O_RDONLY)
            socket.send_fds(client, [b"\n"], [null])
            os.close(null)
            for _ in range(BATCH):
                client.sendall(self._mutator.message())
            self.messages += BATCH
            client.shutdown(socket.SHUT_WR)
            self._read_to_the_end(client)

    @staticmethod
    def _read_to_the_end(client: socket.socket) -> None:
        try:
            while client.recv(1 << 16):
                pass
        except ConnectionResetError:
            return

    def _be_served(self) -> None:
        us = Thread(os.getpid(), os.getpid())
        waited = self.machine.control.times()[1] + us.times()[1]
        begin = time.monotonic()
        qmp = Qmp(self.machine.folder / "qmp", self.machine.vmm.deadline)
        running = qmp.call("query-status")["running"]
        took = time.monotonic() - begin
        self.served.append(took - (self.machine.control.times()[1] + us.times()[1] - waited))
        if not running:
            qmp.call("cont")
        qmp.close()

    def _look(self) -> None:
        self.private_kib.append(self.machine.private_kib())
        self.descriptors.append(len(os.listdir(f"/proc/{self.machine.pid}/fd")))
        before = len(self.machine.vmm.output)
        deadline = time.monotonic() + 10
        while len(self.machine.vmm.output) == before and time.monotonic() < deadline:
            self.machine.vmm.read_available()
            time.sleep(0.005)
        self.stalls += len(self.machine.vmm.output) == before
