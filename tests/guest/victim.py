"""A running machine that its clients attack: what it holds before and after, and whether its guest works."""

from __future__ import annotations

import os
import select
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from stratovirt.control.qmp.server import CLIENTS_AT_MOST
from tests.guest.counts import Counts
from tests.guest.measured import Machine, Thread
from tests.guest.vmm import Qmp

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

TIMEOUT_S = 60
SERVED_S = 0.1  # how soon the next client has its answer
GROWTH_KIB = 1024
PEAK_KIB = 16 << 10  # at any moment of an attack
STATUS = b'{"execute":"query-status"}'
DEVICES = """
[drive.d0]
file = "{folder}/d0"
direct = false
[balloon]
"""


class Victim:
    """A machine that has been used before; leaving the block asserts that an attack left nothing.

    `growth_kib` is what an attack may cost, private memory without the guest's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "qmp"
        self.growth_kib = GROWTH_KIB
        self.machine = Machine(folder, "work", "", cpus=1, devices=DEVICES, timeout=TIMEOUT_S)
        self.machine.qmp.close()
        self._us = Thread(os.getpid(), os.getpid())
        self._use_once()
        self.before = self._counts()
        # Linux, filesystems/proc.rst, 3.3: what comes from here on counts for the peak.
        Path(f"/proc/{self.machine.pid}/clear_refs").write_text("5")
        self._resident = self._peak_kib()

    def __enter__(self) -> Victim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._check()
        finally:
            self.machine.__exit__(kind, value, trace)

    def knock(self) -> socket.socket:
        """Connect, and read nothing."""
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.path))  # waits for a place in the queue, which a socket with a time does not
        client.settimeout(self.machine.vmm.left())
        return client

    def connect(self) -> Qmp:
        """Connect as a proper client does."""
        return Qmp(self.path, self.machine.vmm.deadline)

    def fill(self) -> list[Qmp]:
        """Return clients in every place that the machine has."""
        return [self.connect() for _ in range(CLIENTS_AT_MOST)]

    def served_s(self) -> float:
        """Return how long a new client waits for its first answer, without what was waited for a CPU."""
        waited = self._waited()
        begin = time.monotonic()
        qmp = self.connect()
        running = qmp.call("query-status")["running"]
        took = time.monotonic() - begin
        qmp.close()
        assert running
        return took - (self._waited() - waited)

    def works(self) -> None:
        """Wait until the guest has done more of its work since now."""
        vmm = self.machine.vmm
        vmm.read_available()
        vmm.output = b""
        vmm.read_until(b"@done")
        assert b"broken" not in vmm.output

    def _counts(self) -> Counts:
        """Return what the machine holds while every place is ours: who came before is gone for sure."""
        clients = self.fill()
        counts = Counts(self.machine.pid)
        for client in clients:
            client.close()
        return counts

    def _peak_kib(self) -> int:
        status = Path(f"/proc/{self.machine.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1])

    def _waited(self) -> float:
        return self.machine.control.times()[1] + self._us.times()[1]

    def _use_once(self) -> None:
        """Have everything loaded that clients can need: what comes late is not what an attack costs."""
        self.works()
        qmp = self.connect()
        plug(qmp, self.folder / "d1", "warm")
        qmp.call("device_del", id="warm")
        with socket.socket() as one:
            qmp.pass_fd(one.fileno(), "warm")
        for command, arguments in (
            ("closefd", {"fdname": "warm"}),
            ("query-balloon", {}),
            ("nothing", {}),
            ("netdev_add", {"id": "n", "ifname": "no tap"}),
        ):
            try:
                qmp.call(command, **arguments)
            except RuntimeError:
                continue
        qmp.socket.sendall(b'{"execute":"query-status","id":"' + b"x" * 200_000 + b'"}')
        qmp.receive()
        qmp.close()
        self.served_s()

    def _check(self) -> None:
        assert self.served_s() < SERVED_S
        self.works()
        after = self._counts()
        assert (after.descriptors, after.threads) == (self.before.descriptors, self.before.threads)
        assert after.private_kib - self.before.private_kib < self.growth_kib
        assert self._peak_kib() - self._resident < PEAK_KIB
        qmp = self.connect()
        qmp.call("quit")
        qmp.close()
        status, _, errors = self.machine.vmm.finish()
        assert (status, errors) == (0, "")
        assert "internal error" not in self.machine.log_text()


def plug(qmp: Qmp, image: Path, name: str) -> None:
    """Put an image into the first slot that is free."""
    file = {"driver": "file", "filename": str(image)}
    qmp.call("blockdev-add", **{"node-name": name, "file": file, "cache": {"direct": False}})
    qmp.call("device_add", id=name, driver="virtio-blk-mmio")


def send_all(client: socket.socket, pieces: Iterable[bytes]) -> None:
    """Send, as far as the machine takes it; what it answers meanwhile is thrown away."""
    client.setblocking(False)  # noqa: FBT003
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            readable, _, _ = select.select([client], [client], [], TIMEOUT_S)
            try:
                if readable and not client.recv(1 << 16):
                    return
                rest = rest[client.send(rest) :]
            except BlockingIOError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                return


def sent_until_refused(client: socket.socket, data: bytes, at_most: int) -> int:
    """Send without ever reading; return how many bytes went out before the machine hung up."""
    client.setblocking(False)  # noqa: FBT003
    sent = 0
    while sent < at_most:
        assert select.select([], [client], [], TIMEOUT_S)[1]
        try:
            sent += client.send(data)
        except BlockingIOError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            return sent
    return sent


def read_to_the_end(client: socket.socket) -> bytes:
    """Return all that comes until the machine hangs up."""
    found = bytearray()
    try:
        while piece := client.recv(1 << 16):
            found += piece
    except ConnectionResetError:
        pass
    return bytes(found)
