"""Disks that do more than read and write: queues, locks, faults of the host, other images."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stratovirt.builder.build import build
from stratovirt.devices.drive import Disk
from stratovirt.document.vm import Vm
from stratovirt.errors import HostError, StratovirtError
from stratovirt.load import load
from tests.guest import tiny
from tests.guest.disks import MIB, READ, WRITE, disk_flags, drive_profile, image_of, spinning
from tests.guest.linux import SMALL, TIMEOUT_S, boot, flags, words
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratovirt.machine.machine import Machine

pytestmark = pytest.mark.kvm


# Threads.


def allowed_cpus(pid: int, name: str) -> str:
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text() == f"{name}\n":
            (line,) = [
                x for x in (task / "status").read_text().splitlines() if x.startswith("Cpus_allowed_list")
            ]
            return line.split()[1]
    raise AssertionError(f"no thread is called {name}")


def test_an_iothread_stays_on_its_cpus(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    image = image_of(tmp_path, MIB)
    profile = drive_profile(
        tmp_path,
        f'file = "{image}"\niothread = "a-name-of-more-than-15"',
        f"[iothread.a-name-of-more-than-15]\ncpus = [{cpu}]\n[iothread.free]",
    )
    with Vmm("run", profile) as vmm:
        vmm.read_until(b"spinning\n")
        bound = allowed_cpus(vmm.process.pid, "a-name-of-more-")
        free = allowed_cpus(vmm.process.pid, "free")

    assert bound == str(cpu)
    assert free != bound or len(os.sched_getaffinity(0)) == 1


def test_a_cpu_that_the_host_does_not_have_is_told(tmp_path: Path) -> None:
    image = image_of(tmp_path, MIB)
    with Vmm("run", drive_profile(tmp_path, f'file = "{image}"', "[iothread.io]\ncpus = [8000]")) as vmm:
        status, _, errors = vmm.finish()

    assert status == 1
    assert "put iothread 'io' on CPUs 8000" in errors
    assert "may use CPUs" in errors


# Other images while the machine runs.


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Return a machine with a disk "d" of 1 MiB; its vCPU waits."""
    data = {
        "version": 1,
        "boot": {"kernel": str(tiny.build("spin"))},
        "drive": {"d": {"file": str(image_of(tmp_path, MIB)), "direct": False}},
        "process": {"freeze": True},
    }
    document = load(Vm, data, [])
    assert document is not None
    made = build(document)
    try:
        made.start()
        yield made
    finally:
        made.close()


def disk_of(machine: Machine) -> Disk:
    disk = machine.live("drive", "d")
    assert isinstance(disk, Disk)
    return disk


def test_an_image_is_changed_while_the_machine_runs(machine: Machine, tmp_path: Path) -> None:
    disk = disk_of(machine)
    other = image_of(tmp_path, 2 * MIB, "other")
    before = disk.info()
    disk.unplug()
    empty = disk.info()
    disk.plug(str(other), readonly=True, direct=False)

    assert before == {"file": str(tmp_path / "disk"), "size": MIB, "readonly": False, "direct": False}
    assert empty is None
    assert disk.info() == {"file": str(other), "size": 2 * MIB, "readonly": True, "direct": False}


def test_a_change_that_cannot_be_leaves_the_disk_as_it_was(machine: Machine, tmp_path: Path) -> None:
    disk = disk_of(machine)
    other = image_of(tmp_path, 2 * MIB, "other")
    before = disk.info()
    with pytest.raises(HostError, match=r"put .* into drive 'd'"):
        disk.plug(str(other), readonly=False, direct=False)
    after = disk.info()
    disk.unplug()
    with pytest.raises(HostError, match="take the image out"):
        disk.unplug()
    with pytest.raises(HostError, match="No such file"):
        disk.plug(str(tmp_path / "nothing"), readonly=False, direct=False)
    with pytest.raises(StratovirtError, match="neither a regular file nor"):
        disk.plug(str(tmp_path), readonly=True, direct=False)

    assert after == before
    assert disk.info() is None


def test_an_image_that_was_taken_out_is_free(machine: Machine, tmp_path: Path) -> None:
    flags_of_another = disk_flags(tmp_path / "disk")
    disk_of(machine).unplug()
    with spinning(tmp_path, *flags_of_another) as other:
        other.read_until(b"spinning\n")
        with pytest.raises(StratovirtError, match="is in use by process"):
            disk_of(machine).plug(str(tmp_path / "disk"), readonly=True, direct=False)


# What Linux sees.


@pytest.mark.linux
def test_two_queues_are_used_by_two_cpus(tmp_path: Path) -> None:
    image = image_of(tmp_path, 16 * MIB)
    image.write_bytes(os.urandom(16 * MIB))
    digest = hashlib.md5(image.read_bytes()).hexdigest()
    script = """
ls /sys/block/vda/mq
(for i in 1 2 3 4; do dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null || exit 7; done) &
for i in 1 2 3 4; do dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null || exit 8; done
wait $! || exit 9
md5sum /dev/vda
grep virtio0 /proc/interrupts || true
"""
    report = boot(
        *flags(
            SMALL, words(script), tmp_path / "qmp", "-smp", "2", *disk_flags(image, device=",num-queues=2")
        )
    )

    assert report.script_status == 0, report.text[-2000:]
    assert re.search(r"^0\s+1\s*$", report.text, re.MULTILINE)
    assert digest in report.text


@pytest.mark.linux
def test_many_queues_are_as_many_as_cpus(tmp_path: Path) -> None:
    image = image_of(tmp_path, MIB)
    script = "ls /sys/block/vda/mq | wc -w; cat /sys/block/vda/serial; echo"
    report = boot(
        *flags(
            SMALL, words(script), tmp_path / "qmp", "-smp", "2",
            *disk_flags(image, more=",serial=a-serial-of-20-signs", device=",num-queues=16"),
        )
    )  # fmt: skip

    assert report.script_status == 0
    assert re.search(r"^2\s+a-serial-of-20-signs\s*$", report.text, re.MULTILINE)


@pytest.fixture
def direct_folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder of a file system that knows O_DIRECT."""
    folder = Path(os.environ.get("STRATOVIRT_RIG_SCRATCH", tmp_path))
    try:
        os.close(os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_DIRECT))
    except OSError:
        pytest.skip(f"{folder} has no O_DIRECT")
    yield folder
    (folder / "direct").unlink(missing_ok=True)


@pytest.mark.linux
@pytest.mark.guidebook("2.2 direct")
def test_a_disk_with_o_direct_takes_any_sectors(direct_folder: Path, tmp_path: Path) -> None:
    image = image_of(direct_folder, 8 * MIB, "direct")
    image.write_bytes(os.urandom(8 * MIB))
    before = image.read_bytes()
    script = """
md5sum /dev/vda
dd if=/dev/zero of=/dev/vda bs=512 seek=3 count=5 oflag=direct conv=notrunc 2>/dev/null || exit 6
dd if=/dev/zero of=/dev/vda bs=512 seek=4001 count=300 conv=notrunc 2>/dev/null || exit 7
dd if=/dev/vda of=/dev/null bs=512 skip=5 count=9 iflag=direct 2>/dev/null || exit 8
sync
"""
    drive = ["-drive", f"id=d,file={image},direct=on", "-device", "virtio-blk-device,drive=d"]
    report = boot(*flags(SMALL, words(script), tmp_path / "qmp", *drive))
    expected = bytearray(before)
    expected[3 * 512 : 8 * 512] = bytes(5 * 512)
    expected[4001 * 512 : 4301 * 512] = bytes(300 * 512)

    assert report.script_status == 0, report.text[-2000:]
    assert hashlib.md5(before).hexdigest() in report.text
    assert image.read_bytes() == expected


# Faults of the host.


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Return an image of 64 MiB on a file system that has room for 8."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8M", "none", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs to mount a tmpfs")
    yield image_of(folder, 64 * MIB)
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.linux
def test_a_full_file_system_is_an_error_to_the_guest_an_event_and_no_end(
    full_disk: Path, tmp_path: Path
) -> None:
    script = f"""
echo WAITS; read word
{WRITE} bs=64k count=256 && exit 7
echo ALIVE
{READ} bs=64k count=16 || exit 8
"""
    given = flags(SMALL, words(script), tmp_path / "qmp", *disk_flags(full_disk))
    with Vmm(*given, stdin=subprocess.PIPE, timeout=TIMEOUT_S) as vmm:
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        vmm.read_until(b"WAITS")
        go_on(vmm)
        event = qmp.wait_event("BLOCK_IO_ERROR")
        vmm.read_until(b"SV-EXIT 0")
        status, output, errors = vmm.finish()
        qmp.close()

    assert event["data"] == {
        "device": "d",
        "operation": "write",
        "action": "report",
        "nospace": True,
        "reason": os.strerror(errno.ENOSPC),
    }
    assert b"ALIVE" in output
    assert "drive 'd': write at sector" in errors
    assert status == 0


@pytest.mark.linux
def test_an_image_that_shrinks_or_disappears_fails_requests_and_not_the_machine(tmp_path: Path) -> None:
    image = image_of(tmp_path, 8 * MIB)
    script = f"""
{READ} bs=64k count=1 skip=100 || exit 6
echo WAITS; read word
{READ} bs=64k count=1 skip=100 && exit 7
{READ} bs=64k count=1 || exit 8
{WRITE} bs=64k count=1 || exit 9
"""
    given = flags(SMALL, words(script), tmp_path / "qmp", *disk_flags(image))
    with Vmm(*given, stdin=subprocess.PIPE, timeout=TIMEOUT_S) as vmm:
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        vmm.read_until(b"WAITS")
        os.truncate(image, MIB)
        image.unlink()
        go_on(vmm)
        event = qmp.wait_event("BLOCK_IO_ERROR")
        vmm.read_until(b"SV-EXIT 0")
        status, _, _ = vmm.finish()
        qmp.close()

    assert (event["data"]["operation"], event["data"]["nospace"]) == ("read", False)
    assert status == 0


def go_on(vmm: Vmm) -> None:
    assert vmm.process.stdin is not None
    vmm.process.stdin.write(b"\n")
    vmm.process.stdin.flush()
