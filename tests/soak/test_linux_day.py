"""Linux under load while its disks and cards come and go, its streams too, and the log is taken away."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.guest.counts import Counts
from tests.guest.linux import SMALL, words
from tests.guest.machines import MIB, empty_image
from tests.guest.programs import initrd_with
from tests.guest.tap import Tap
from tests.guest.vmm import Qmp, Vmm
from tests.soak.cards import CARD, replace_card

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.kvm, pytest.mark.linux, pytest.mark.soak]

CYCLES = 40
GROWTH_KIB = 6144  # a disk's table of requests, 2 MiB each: its pages come with the deepest queue
DATA = b"heard?" * 4000
# `ping` comes back only from a card whose tap has its address.
LOAD = """
mkdir -p /tmp/d /tmp/e
mke2fs -F /dev/vda >/dev/null 2>&1
mount -t ext4 /dev/vda /tmp/d || exit 5
write() { dd if=/dev/urandom of=/tmp/d/data bs=64k count=4 conv=fsync; sleep 0.2; }
(while :; do write; done) >/dev/null 2>&1 &
(while :; do vsock_cat echo 1000 1; done) >/dev/null 2>&1 &
ip addr add 10.17.0.2/24 dev eth0; ip link set eth0 up
echo LOADS
up() { [ $(cat /sys/block/vdb/size) != 0 ]; }
while :; do
until up; do sleep 0.05; done
mke2fs -F /dev/vdb >/dev/null 2>&1
mount -t ext4 /dev/vdb /tmp/e && dd if=/dev/urandom of=/tmp/e/data bs=4k count=64 2>/dev/null
umount /tmp/e
until ping -c 1 -W 1 10.17.0.1 >/dev/null 2>&1; do sleep 0.05; done
echo USED
while up; do sleep 0.05; done
echo GONE
done
"""
PROFILE = """
version = 1
cpu.count = 2
memory.size = "512M"
serial = {{}}
qmp.socket = "{folder}/qmp"
log = {{ file = "{folder}/log", level = "info" }}
rng.file = "/dev/urandom"
console.c.path = "{folder}/console"
vsock = {{ guest_cid = 77, backend = "unix", socket = "{folder}/vsock" }}
net.eth0.tap = "{tap}"
[boot]
kernel = "{kernel}"
initrd = "{initrd}"
cmdline = "{cmdline}"
[drive.d]
file = "{folder}/disk"
direct = false
"""


@pytest.fixture
def tap() -> Iterator[Tap]:
    """Yield a tap with the host's address."""
    made = Tap("l", address="10.17.0.1/24")
    if made.missing:
        pytest.skip(f"needs a tap; {made.missing}")
    yield made
    made.delete()


class Cycle:
    """What comes and goes once while Linux works."""

    def __init__(self, folder: Path, tap: Tap, vmm: Vmm) -> None:
        self._folder = folder
        self._tap = tap
        self._vmm = vmm
        self._more = empty_image(folder / "more", 16 * MIB)
        self._card = "eth0"

    def run(self, number: int) -> Counts:
        """Return what the machine holds afterwards."""
        self._take_the_log()
        with closing(Qmp(self._folder / "qmp", self._vmm.deadline)) as qmp:
            self._replace_card(qmp, by_name=number % 2 == 0)
            file = {"driver": "file", "filename": str(self._more)}
            qmp.call("blockdev-add", **{"node-name": "n", "file": file, "cache": {"direct": False}})
            qmp.call("device_add", driver="virtio-blk-mmio", id="n", drive="n", addr="0x1")
            self._stream()
            self._wait_for(b"USED", number)
            qmp.call("device_del", id="n")
            self._wait_for(b"GONE", number)
            return Counts(self._vmm.process.pid)

    def _take_the_log(self) -> None:
        log = self._folder / "log"
        log.rename(self._folder / "log.1")
        self._vmm.process.send_signal(signal.SIGHUP)
        while not log.exists():
            assert self._vmm.left() > 1, "no new log"
            time.sleep(0.005)

    def _replace_card(self, qmp: Qmp, *, by_name: bool) -> None:
        replace_card(qmp, self._card, self._tap.name, by_name=by_name)
        self._card = CARD

    def _stream(self) -> None:
        """Have Linux echo what it is sent; while its program starts anew nobody listens."""
        while True:
            with socket.socket(socket.AF_UNIX) as client, client.makefile("rb") as answer:
                client.settimeout(self._vmm.left())
                client.connect(str(self._folder / "vsock"))
                client.sendall(b"CONNECT 1000\n")
                if not answer.readline().startswith(b"OK "):
                    time.sleep(0.05)
                    continue
                client.sendall(DATA)
                client.shutdown(socket.SHUT_WR)
                assert answer.read() == DATA
                return

    def _wait_for(self, word: bytes, number: int) -> None:
        while self._vmm.output.count(word) < number:
            self._vmm.read_more(f"no {word!r} {number}: {self._vmm.output[-500:]!r}")


def test_a_linux_guest_under_load_whose_devices_come_and_go_holds_no_more_than_before(
    tap: Tap, tmp_path: Path, record_property: Record
) -> None:
    initrd = initrd_with(SMALL[1], tmp_path / "initrd", "vsock_cat")
    empty_image(tmp_path / "disk", 32 * MIB)
    given = {"folder": tmp_path, "tap": tap.name, "kernel": SMALL[0], "initrd": initrd}
    (tmp_path / "vm.toml").write_text(PROFILE.format(**given, cmdline=words(LOAD, more="quiet")))
    with Vmm("run", tmp_path / "vm.toml", timeout=400) as vmm:
        vmm.read_until(b"LOADS")
        cycle = Cycle(tmp_path, tap, vmm)
        counts = [cycle.run(number) for number in range(1, CYCLES + 1)]
        with closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
            qmp.call("quit")
        status, _, errors = vmm.finish()
    warm, last = counts[3], counts[-1]
    record_property("disks in and out, cards out and in, logs, streams, of each", CYCLES)
    record_property(
        "private memory, KiB", " ".join(str(count.private_kib) for count in counts[:: CYCLES // 10])
    )
    record_property("held when warm", warm)
    record_property("held at the end", last)

    assert (status, errors) == (0, "")
    assert (last.descriptors, last.threads) == (warm.descriptors, warm.threads)
    assert last.private_kib - warm.private_kib < GROWTH_KIB
