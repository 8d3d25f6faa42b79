"""Linux guests over minutes: killed again and again, disks in and out, load on all of it."""

from __future__ import annotations

import os
import random
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest.counts import Counts
from tests.guest.killed import kill_after, look, make_image
from tests.guest.linux import SMALL, flags, words
from tests.guest.machines import MIB, empty_image
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from collections.abc import Callable

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.kvm, pytest.mark.linux, pytest.mark.soak]

KILLS = 6
CYCLES = 40
GROWTH_KIB = 6144  # a disk's table of requests, 2 MiB each: its pages come with the deepest queue
LOAD = """
mkdir -p /tmp/d /tmp/e
mke2fs -F /dev/vda >/dev/null 2>&1
mount -t ext4 /dev/vda /tmp/d || exit 5
write() { dd if=/dev/urandom of=/tmp/d/data bs=64k count=4 conv=fsync; sleep 0.2; }
(while :; do write; done) >/dev/null 2>&1 &
echo LOADS
while :; do
while [ $(cat /sys/block/vdb/size) = 0 ]; do sleep 0.05; done
mke2fs -F /dev/vdb >/dev/null 2>&1
mount -t ext4 /dev/vdb /tmp/e && dd if=/dev/urandom of=/tmp/e/data bs=4k count=64 2>/dev/null
umount /tmp/e
echo USED
while [ $(cat /sys/block/vdb/size) != 0 ]; do sleep 0.05; done
echo GONE
done
"""


def wait_for(vmm: Vmm, word: bytes, number: int) -> None:
    """Wait until the guest has said a word so often."""
    while vmm.output.count(word) < number:
        vmm.read_more(f"no {word!r} {number}: {vmm.output[-500:]!r}")


@pytest.mark.parametrize("direct", [False, True], ids=["page cache", "O_DIRECT"])
def test_a_linux_guest_that_is_killed_again_and_again_loses_nothing_that_it_saw_on_the_disk(
    direct: bool,  # noqa: FBT001
    tmp_path: Path,
    record_property: Record,
) -> None:
    seed = int(time.time())
    chance = random.Random(seed)
    scratch = Path(os.environ.get("STRATOVIRT_RIG_SCRATCH", tmp_path))
    image = make_image(scratch / f"killed-{seed}")
    acknowledged = 0
    for _ in range(KILLS):
        found, number = kill_after(chance.randint(1, 150), tmp_path, image, direct=direct)
        assert found >= acknowledged, f"seed {seed}"
        acknowledged = number
    left = look(tmp_path, image, direct=direct)
    image.unlink()
    record_property("seed", seed)
    record_property("kills", KILLS)
    record_property("records acknowledged", acknowledged)
    record_property("found at the end", left)

    assert left >= acknowledged


def test_a_linux_guest_under_load_whose_disks_come_and_go_holds_no_more_than_before(
    tmp_path: Path, record_property: Record
) -> None:
    image, more = empty_image(tmp_path / "disk", 32 * MIB), empty_image(tmp_path / "more", 16 * MIB)
    devices = ["-drive", f"id=d,file={image},direct=off", "-device", "virtio-blk-device,drive=d"]
    devices += ["-chardev", f"id=c,path={tmp_path / 'console'}", "-rng", "random_file=/dev/urandom"]
    given = flags(SMALL, words(LOAD, more="quiet"), tmp_path / "qmp", *devices)
    counts = []
    with Vmm(*given, "-smp", "2", stdin=subprocess.DEVNULL, timeout=300) as vmm:
        vmm.read_until(b"LOADS")
        for number in range(1, CYCLES + 1):
            with closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
                file = {"driver": "file", "filename": str(more)}
                qmp.call("blockdev-add", **{"node-name": "n", "file": file, "cache": {"direct": False}})
                qmp.call("device_add", driver="virtio-blk-mmio", id="n", drive="n", addr="0x1")
                wait_for(vmm, b"USED", number)
                qmp.call("device_del", id="n")
                wait_for(vmm, b"GONE", number)
                counts.append(Counts(vmm.process.pid))
        with closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
            qmp.call("quit")
        status, _, errors = vmm.finish()
    warm, last = counts[3], counts[-1]
    record_property("disks in and out", CYCLES)
    record_property(
        "private memory, KiB", " ".join(str(count.private_kib) for count in counts[:: CYCLES // 10])
    )
    record_property("held when warm", warm)
    record_property("held at the end", last)

    assert (status, errors) == (0, "")
    assert (last.descriptors, last.threads) == (warm.descriptors, warm.threads)
    assert last.private_kib - warm.private_kib < GROWTH_KIB
