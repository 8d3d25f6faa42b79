"""A day of management and I/O in a minute or two: descriptors, threads and memory stay flat.

A machine in service is taken to see, in 24 hours, at most one QMP client a minute (1,440), a console client
and a vsock client every ten minutes (144), a disk or a card that comes or goes every quarter of an hour (96),
a descriptor with each card (96), and a log that is taken away every hour (24). Here it sees more.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.guest.counts import Counts
from tests.guest.machines import MIB, acknowledged, empty_image, lost_records
from tests.guest.measured import Equipment, Machine
from tests.guest.prey import DISK
from tests.guest.tap import Tap
from tests.guest.vmm import Qmp
from tests.soak.cards import CARD, replace_card

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.kvm, pytest.mark.soak]

ROUNDS = 20
# In each round.
CONNECTS, ATTACHES, STREAMS, DESCRIPTORS, DISKS, CARDS, LOGS = 150, 100, 50, 25, 10, 5, 3
PAUSE_S = 0.04  # after three commands: 100 a second are allowed
GROWTH_KIB = 256
TIMEOUT_S = 900
DEVICES = (
    DISK
    + """
[console.c0]
path = "{folder}/console"
[vsock]
guest_cid = 7
backend = "unix"
socket = "{folder}/vsock"
"""
)


class Day:
    """What happens to a machine in a day, a part of it in each round."""

    def __init__(self, machine: Machine, tap: Tap | None) -> None:
        self._machine = machine
        self._folder = machine.folder
        self._more = empty_image(machine.folder / "more", 4 * MIB)
        self._tap = tap
        self._card = "n0"

    def go_on(self) -> Counts:
        """Have a round; return what the machine holds after it, with one client."""
        self._connect()
        self._attach()
        self._stream()
        for _ in range(LOGS):
            self._take_the_log()
        with closing(Qmp(self._folder / "qmp", self._machine.vmm.deadline)) as qmp:
            self._pass_descriptors(qmp)
            self._plug(qmp)
            for number in range(CARDS if self._tap else 0):
                self._replace_card(qmp, by_name=number % 2 == 0)
            return Counts(self._machine.pid)

    def _connect(self) -> None:
        for _ in range(CONNECTS):
            with closing(Qmp(self._folder / "qmp", self._machine.vmm.deadline)):
                pass

    def _attach(self) -> None:
        for _ in range(ATTACHES):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(self._folder / "console"))
                client.sendall(b"x")

    def _stream(self) -> None:
        """Have the guest echo what a client says; every other client goes before."""
        for number in range(STREAMS):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(self._machine.vmm.left())
                client.connect(str(self._folder / "vsock"))
                client.sendall(b"CONNECT 1000\n")
                if number % 2:
                    continue
                with client.makefile("rb") as answer:
                    assert answer.readline().startswith(b"OK ")
                    client.sendall(b"heard?\n")
                    assert answer.readline() == b"heard?\n"

    def _take_the_log(self) -> None:
        """Move the log away as logrotate does, and wait for the new one."""
        log = self._folder / "log"
        log.rename(self._folder / "log.1")
        self._machine.vmm.process.send_signal(signal.SIGHUP)
        while not log.exists():
            assert self._machine.vmm.left() > 1, "no new log"
            time.sleep(0.001)

    @staticmethod
    def _pass_descriptors(qmp: Qmp) -> None:
        for number in range(DESCRIPTORS):
            null = os.open("/dev/null", os.O_RDWR)
            qmp.pass_fd(null, f"fd{number % 7}")
            qmp.pass_fd(null, "again")  # instead of the one of that name
            os.close(null)
            qmp.call("closefd", fdname=f"fd{number % 7}")
            time.sleep(PAUSE_S)

    def _plug(self, qmp: Qmp) -> None:
        for _ in range(DISKS):
            file = {"driver": "file", "filename": str(self._more)}
            qmp.call("blockdev-add", **{"node-name": "more", "file": file, "cache": {"direct": False}})
            qmp.call("device_add", driver="virtio-blk-mmio", id="more", drive="more", addr="0x1")
            qmp.call("device_del", id="more")
            time.sleep(PAUSE_S)

    def _replace_card(self, qmp: Qmp, *, by_name: bool) -> None:
        assert self._tap is not None
        assert self._tap.echoes(self._machine.vmm.left())
        replace_card(qmp, self._card, self._tap.name, by_name=by_name)
        self._card = CARD
        assert self._tap.echoes(self._machine.vmm.left())
        time.sleep(PAUSE_S)


@pytest.fixture(params=["no card", "a card on a tap"])
def tap(request: pytest.FixtureRequest) -> Iterator[Tap | None]:
    """Yield a tap for the machine, or none."""
    if request.param == "no card":
        yield None
        return
    made = Tap("d")
    if made.missing:
        pytest.skip(f"needs a tap; {made.missing}")
    yield made
    made.delete()


def test_a_day_of_clients_devices_logs_and_io_leaves_nothing_behind(
    tap: Tap | None, tmp_path: Path, record_property: Record
) -> None:
    card = f'[net.n0]\ntap = "{tap.name}"\n' if tap else ""
    has = Equipment(DEVICES + card, env={**os.environ, "STRATOVIRT_LOG_LEVEL": "info"})
    counts = []
    with Machine(tmp_path, "serves", "", cpus=1, devices=has, timeout=TIMEOUT_S) as machine:
        machine.qmp.close()
        machine.vmm.read_until(b"begins\n")
        day = Day(machine, tap)
        for _ in range(ROUNDS):
            counts.append(day.go_on())
            machine.vmm.read_available()
        machine.vmm.process.send_signal(signal.SIGTERM)
        status, output, errors = machine.vmm.finish()
    records = acknowledged(output)
    warm, last = counts[1], counts[-1]
    record_property("QMP clients", ROUNDS * CONNECTS)
    record_property("console clients", ROUNDS * ATTACHES)
    record_property("vsock clients", ROUNDS * STREAMS)
    record_property("descriptors passed", ROUNDS * 2 * DESCRIPTORS)
    record_property("disks in and out", ROUNDS * DISKS)
    record_property("cards out and in", ROUNDS * CARDS if tap else 0)
    record_property("logs", ROUNDS * LOGS)
    record_property("writes with flush", records)
    record_property("held when warm", warm)
    record_property("held at the end", last)

    assert (status, errors) == (0, "")
    assert (last.descriptors, last.threads) == (warm.descriptors, warm.threads)
    assert last.private_kib - warm.private_kib < GROWTH_KIB
    assert lost_records(tmp_path / "d0", records) == []
