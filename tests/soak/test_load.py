"""A day of management and I/O in a minute or two: descriptors, threads and memory stay flat.

A machine in service is taken to see, in 24 hours, at most one QMP client a minute (1,440), a console client
every ten minutes (144), and a disk that comes or goes every quarter of an hour (96). Here it sees more.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest.counts import Counts
from tests.guest.machines import MIB, acknowledged, disk, empty_image, lost_records, obeying, started
from tests.guest.stopped import stopped_for
from tests.guest.vmm import Qmp

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.guest.vmm import Vmm

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.kvm, pytest.mark.soak]

ROUNDS = 20
CONNECTS, ATTACHES, PLUGS = 150, 100, 10  # in each round
GROWTH_KIB = 256
TIMEOUT_S = 900
KILLS = 200
STARTS = 300


def connect(folder: Path, vmm: Vmm) -> None:
    for _ in range(CONNECTS):
        with closing(Qmp(folder / "qmp", vmm.deadline)):
            pass


def attach(folder: Path) -> None:
    for _ in range(ATTACHES):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "console"))
            client.sendall(b"x")


def plug(qmp: Qmp, image: Path) -> None:
    for _ in range(PLUGS):
        file = {"driver": "file", "filename": str(image)}
        qmp.call("blockdev-add", **{"node-name": "more", "file": file, "cache": {"direct": False}})
        qmp.call("device_add", driver="virtio-blk-mmio", id="more", drive="more", addr="0x1")
        qmp.call("device_del", id="more")
        time.sleep(0.04)  # 100 commands a second are allowed


def test_a_day_of_clients_disks_and_io_leaves_nothing_behind(tmp_path: Path, record_property: Record) -> None:
    image, more = empty_image(tmp_path / "disk"), empty_image(tmp_path / "more", 4 * MIB)
    words = [*disk(image), "-chardev", f"id=c,path={tmp_path / 'console'}"]
    with started("records", tmp_path, *words, timeout=TIMEOUT_S) as vmm:
        vmm.read_until(b"begins\n")
        counts = []
        for _ in range(ROUNDS):
            connect(tmp_path, vmm)
            attach(tmp_path)
            with closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
                plug(qmp, more)
                vmm.read_available()
                counts.append(Counts(vmm.process.pid))
        vmm.process.send_signal(signal.SIGTERM)
        status, output, errors = vmm.finish()
    records = acknowledged(output)
    warm, last = counts[1], counts[-1]
    record_property("QMP clients", ROUNDS * CONNECTS)
    record_property("console clients", ROUNDS * ATTACHES)
    record_property("disks in and out", ROUNDS * PLUGS)
    record_property("writes with flush", records)
    record_property("held when warm", warm)
    record_property("held at the end", last)

    assert (status, errors) == (0, "")
    assert (last.descriptors, last.threads) == (warm.descriptors, warm.threads)
    assert last.private_kib - warm.private_kib < GROWTH_KIB
    assert lost_records(image, records) == []


def test_a_minute_of_sigstop_changes_nothing(tmp_path: Path, record_property: Record) -> None:
    took = stopped_for(60, tmp_path)

    record_property("first answer after a minute", f"{took * 1e3:.0f} ms")


def test_kills_at_random_moments_lose_nothing_that_was_acknowledged(
    tmp_path: Path, record_property: Record
) -> None:
    seed = int(time.time())
    chance = random.Random(seed)
    image = tmp_path / "disk"
    total = 0
    for _ in range(KILLS):
        empty_image(image)
        with started("records", tmp_path, *disk(image), timeout=TIMEOUT_S) as vmm:
            vmm.read_until(b"begins\n")
            time.sleep(chance.random() * 0.2)  # the moment
            vmm.process.kill()
            number = acknowledged(vmm.finish()[1])
        total += number
        assert lost_records(image, number) == [], f"seed {seed}"
    record_property("seed", seed)
    record_property("kills", KILLS)
    record_property("records acknowledged", total)

    assert total > KILLS


def test_hundreds_of_machines_after_another_leave_nothing_on_the_host(
    tmp_path: Path, record_property: Record
) -> None:
    image = empty_image(tmp_path / "disk")
    ours = len(os.listdir("/proc/self/fd"))
    begun = time.monotonic()
    for number in range(STARTS):
        with obeying(tmp_path, *disk(image), "-pidfile", tmp_path / "pid", timeout=TIMEOUT_S) as vmm:
            children = Path(f"/proc/{vmm.process.pid}/task/{vmm.process.pid}/children").read_text()
            assert children == ""
            if number % 3 == 0:
                vmm.process.send_signal(signal.SIGTERM)
            elif number % 3 == 1:
                vmm.type(b"q\n")
            else:
                with closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
                    qmp.call("quit")
            status, _, errors = vmm.finish()
        assert (status, errors) == (0, "")
        assert sorted(os.listdir(tmp_path)) == ["disk"]
    record_property("starts and ends", STARTS)
    record_property("each", f"{(time.monotonic() - begun) / STARTS * 1e3:.0f} ms")

    assert len(os.listdir("/proc/self/fd")) == ours
