"""Machines that are attacked: what they have, who of the host serves it, what shows that it was served."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from tests.guest.measured import Equipment
from tests.guest.shims import DiskFaults
from tests.guest.tap import Tap

CID = 7  # of attack.c
PAGES = 128  # of 2 MiB: the guest's memory
PORT = 52  # of the host, where attack.c connects to
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
[rng]
file = "/dev/urandom"
[balloon]
"""
)
UNIX_VSOCK = f"""
[vsock]
guest_cid = {CID}
backend = "unix"
socket = "{{folder}}/vs"
"""
BY_THE_KERNEL = f"""
[vsock]
guest_cid = {CID}
backend = "vhost"
[drive.d2]
file = "{{image}}"
direct = true
[net.n1]
tap = "{{tap}}"
queues = 2
vhost = true
"""


class Prey:
    """A machine as any host can have it, with a card where it lets us have a tap."""

    takes_interrupts = False  # a KVM that emulates the guest's instructions has no IRETQ
    tick_s = 0.05  # between two questions
    # Who may work for it; kvm- and vhost- are of the host's kernel.
    threads: tuple[str, ...] = ("CPU ", "io1", "io-main", "iou-wrk-", "iou-sqp-", "kvm-")

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.card = Tap("h")
        self.streams = self._listen()
        self.heard = 0  # streams that the guest opened

    def equipment(self) -> Equipment:
        return Equipment(DEVICES + UNIX_VSOCK + self._card_table())

    def bother(self) -> None:
        """Do what the devices' other side does."""
        self.card.send()
        with contextlib.suppress(BlockingIOError):
            self.streams.accept()[0].close()
            self.heard += 1

    def frames(self) -> list[int]:
        """Return the frames that each card took of its tap, and gave to it."""
        return [] if self.card.missing else list(self.card.frames())

    def close(self) -> None:
        self.streams.close()
        self.card.delete()

    def _card_table(self) -> str:
        return "" if self.card.missing else f'[net.n0]\ntap = "{self.card.name}"\n'

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.folder / f"vs_{PORT}"))
        return _listening(listener)


class PreyOfTheKernel(Prey):
    """One whose guest the host's kernel meets: vhost, O_DIRECT, huge pages, interrupts that are delivered."""

    takes_interrupts = True
    threads = (*Prey.threads, "vhost-")

    def __init__(self, folder: Path, *, uring: bool) -> None:
        super().__init__(folder)
        self.vhost_card = Tap("k", "multi_queue")
        self.image = Path(os.environ.get("STRATOVIRT_RIG_SCRATCH", folder)) / f"attacked-{os.getpid()}"
        self.image.write_bytes(bytes(1 << 20))
        self.faults = DiskFaults(folder, no_uring=int(not uring))

    def equipment(self) -> Equipment:
        assert (self.card.missing, self.vhost_card.missing) == ("", "")
        words = {"image": self.image, "tap": self.vhost_card.name}
        own = BY_THE_KERNEL
        for name, value in words.items():
            own = own.replace(f"{{{name}}}", str(value))
        return Equipment(
            DEVICES + self._card_table() + own, memory='path = "/dev/hugepages"', env=self.faults.variables
        )

    def bother(self) -> None:
        super().bother()
        self.vhost_card.send()

    def frames(self) -> list[int]:
        return [*super().frames(), *self.vhost_card.frames()]

    def close(self) -> None:
        super().close()
        self.vhost_card.delete()
        self.image.unlink()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_VSOCK)
        listener.bind((socket.VMADDR_CID_ANY, PORT))
        return _listening(listener)


def _listening(listener: socket.socket) -> socket.socket:
    listener.listen(4)
    listener.setblocking(False)  # noqa: FBT003
    return listener
