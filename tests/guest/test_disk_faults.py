"""What a disk's guest is told, and when: flushes, faults of the host, ends that wait for a flush."""

from __future__ import annotations

import errno
import mmap
import os
import signal
import subprocess
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest.faulty import FSYNC, READ, WRITE, FaultyDisk
from tests.guest.machines import MIB, ask_to_quit, disk, empty_image, obeying
from tests.guest.shims import ENGINES, DiskFaults
from tests.guest.vmm import Qmp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.guest.vmm import Vmm

pytestmark = pytest.mark.kvm

MEMORY = 256 * MIB
USED_INDEX = 0x3002002  # of virtio.h: used->index
FLUSH = 1 << 9  # VIRTIO_BLK_F_FLUSH
IO_ERROR = 1  # VIRTIO_BLK_S_IOERR
ENDING = (signal.SIGTERM, signal.SIGINT)
HELD_S = 0.3  # how long a flush is held back: many times what one takes


def run(*words: str | Path) -> str:
    return subprocess.run([*map(str, words)], check=True, capture_output=True, text=True).stdout.strip()


class Used:
    """The used ring of a guest whose memory is shared: what the device has given back."""

    def __init__(self, vmm: Vmm) -> None:
        fds = Path(f"/proc/{vmm.process.pid}/fd")
        (shared,) = [fd for fd in fds.iterdir() if "stratovirt-ram" in os.readlink(fd)]
        with shared.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), MEMORY)

    @property
    def index(self) -> int:
        return int.from_bytes(self._memory[USED_INDEX : USED_INDEX + 2], "little")

    def stays(self, value: int) -> bool:
        """Whether the index is, and remains, a value for a while."""
        until = time.monotonic() + HELD_S
        while time.monotonic() < until:
            if self.index != value:
                return False
        return True


SHARED = ["-machine", "microvm,mem-share=on"]


def test_a_flush_is_acknowledged_only_after_fdatasync_has_returned(tmp_path: Path) -> None:
    image = empty_image(tmp_path / "disk")
    faults = DiskFaults(tmp_path, no_uring=1)
    with obeying(tmp_path, *disk(image), *SHARED, env=faults.variables) as vmm:
        used = Used(vmm)
        assert vmm.ask("w 5") == 0
        before = used.index
        faults.set("hold_sync", 1)
        told = len(vmm.output)
        vmm.type(b"f\n")
        while faults.get("syncs") == 0:
            assert vmm.left() > 1
        assert used.stays(before)
        assert faults.get("synced") == 0
        faults.set("hold_sync", 0)
        assert vmm.answer(told) == 0
        after = (used.index, faults.get("synced"))

    assert after == (before + 1, 1)


@pytest.fixture
def slow_disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a block device whose file lies in a file system of its own, and that one's mount point."""
    with ExitStack() as stack:
        folder = tmp_path / "mounted"
        folder.mkdir()
        outer = empty_image(tmp_path / "outer", 16 * MIB)
        try:
            run("mke2fs", "-q", "-t", "ext4", outer)
            run("mount", "-o", "loop", outer, folder)
            stack.callback(run, "umount", folder)
            inner = empty_image(folder / "inner", 4 * MIB)
            device = run("losetup", "-f", "--show", inner)
        except (subprocess.CalledProcessError, FileNotFoundError):
            pytest.skip("needs root, loop devices and ext4")
        stack.callback(run, "losetup", "-d", device)
        yield Path(device), folder


@ENGINES
@pytest.mark.parametrize(
    ("features", "command"), [(FLUSH, "f"), (0, "w 5")], ids=["a flush", "a write of a driver without flush"]
)
def test_what_shall_be_on_the_disk_waits_for_a_disk_that_takes_nothing_and_the_machine_does_not(
    features: int, command: str, no_uring: int, slow_disk: tuple[Path, Path], tmp_path: Path
) -> None:
    device, folder = slow_disk
    faults = DiskFaults(tmp_path, no_uring=no_uring)
    with obeying(tmp_path, *disk(device), *SHARED, env=faults.variables) as vmm:
        used = Used(vmm)
        vmm.ask(f"n {features:x}")
        assert vmm.ask("w 5") == 0
        run("fsfreeze", "-f", folder)
        try:
            before = used.index
            told = len(vmm.output)
            vmm.type(f"{command}\n".encode())
            held = used.stays(before)
            with closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
                running = qmp.call("query-status")["status"]
        finally:
            run("fsfreeze", "-u", folder)
        answer = vmm.answer(told)
        after = used.index

    assert held
    assert running == "running"
    assert (answer, after) == (0, before + 1)


@pytest.mark.parametrize(
    ("word", "command", "operation"),
    [("sync_error", "f", "write"), ("write_error", "w 7", "write"), ("read_error", "r 7", "read")],
)
def test_a_fault_of_the_host_is_an_error_to_the_guest_an_event_and_no_end(
    word: str, command: str, operation: str, tmp_path: Path
) -> None:
    image = empty_image(tmp_path / "disk")
    faults = DiskFaults(tmp_path, no_uring=1)
    with (
        obeying(tmp_path, *disk(image), env=faults.variables) as vmm,
        closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
    ):
        faults.set(word, errno.EIO)
        answer = vmm.ask(command)
        event = qmp.wait_event("BLOCK_IO_ERROR")
        faults.set(word, 0)
        again = vmm.ask(command)

    assert answer in {IO_ERROR, (1 << 64) - 1}
    assert (event["data"]["operation"], event["data"]["reason"]) == (operation, os.strerror(errno.EIO))
    assert again == 0


@ENGINES
@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(
    ("fault", "command", "operation"),
    [(READ, "r 7", "read"), (WRITE, "w 7", "write"), (FSYNC, "f", "write")],
    ids=["a read", "a write", "a flush"],
)
def test_a_file_system_that_fails_is_an_error_to_the_guest_an_event_and_no_end(
    fault: int,
    command: str,
    operation: str,
    direct: bool,  # noqa: FBT001
    no_uring: int,
    tmp_path: Path,
) -> None:
    shim = DiskFaults(tmp_path, no_uring=no_uring)
    with (
        FaultyDisk(tmp_path / "faulty", MIB) as host,
        obeying(tmp_path, *disk(host.path, direct=direct), env=shim.variables) as vmm,
        closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
    ):
        by_uring = uses_io_uring(vmm)
        before = (vmm.ask("w 7"), vmm.ask(command))
        host.faults[fault] = errno.EIO
        answer = vmm.ask(command)
        event = qmp.wait_event("BLOCK_IO_ERROR")
        status = qmp.call("query-status")["status"]
        host.faults[fault] = 0
        after = (vmm.ask("w 7"), vmm.ask("f"), vmm.ask("r 7"))

    if not (by_uring or no_uring):
        pytest.skip("this host has no io_uring")
    assert by_uring is not bool(no_uring)
    assert (before[0], before[1] in {0, 7}) == (0, True)
    assert answer in {IO_ERROR, (1 << 64) - 1}
    assert (event["data"]["operation"], event["data"]["reason"]) == (operation, os.strerror(errno.EIO))
    assert status == "running"
    assert after == (0, 0, 7)


def uses_io_uring(vmm: Vmm) -> bool:
    fds = Path(f"/proc/{vmm.process.pid}/fd")
    return any(os.readlink(fd) == "anon_inode:[io_uring]" for fd in fds.iterdir())


def fill(path: Path) -> None:
    """Write a file until its file system has no room left, not even for what it had put aside."""
    with path.open("wb", buffering=0) as file:
        for _ in range(3):
            with suppress(OSError):
                while file.write(bytes(512)):
                    pass
            with suppress(OSError):
                os.fsync(file.fileno())


@pytest.fixture
def broken_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a block device that has more sectors than its file can get, on a full file system."""
    with ExitStack() as stack:
        folder = tmp_path / "small"
        folder.mkdir()
        try:
            run("mount", "-t", "tmpfs", "-o", "size=64k", "none", folder)
            stack.callback(run, "umount", folder)
            device = run("losetup", "-f", "--show", empty_image(folder / "file", 4 * MIB))
        except (subprocess.CalledProcessError, FileNotFoundError):
            pytest.skip("needs root and loop devices")
        stack.callback(run, "losetup", "-d", device)
        fill(folder / "filler")
        yield Path(device)


@ENGINES
@pytest.mark.parametrize("direct", [True, False])
def test_a_block_device_that_fails_is_an_error_to_the_guest_an_event_and_no_end(
    direct: bool,  # noqa: FBT001
    no_uring: int,
    broken_disk: Path,
    tmp_path: Path,
) -> None:
    faults = DiskFaults(tmp_path, no_uring=no_uring)
    with (
        obeying(tmp_path, *disk(broken_disk, direct=direct), env=faults.variables) as vmm,
        closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
    ):
        answers = (vmm.ask("w 1000"), vmm.ask("f"))
        assert IO_ERROR in answers
        event = qmp.wait_event("BLOCK_IO_ERROR")
        reads = vmm.ask("r 0")

    assert (event["data"]["device"], event["data"]["operation"]) == ("d", "write")
    assert event["data"]["reason"] in {os.strerror(errno.EIO), os.strerror(errno.ENOSPC)}
    assert reads == 0


@pytest.fixture(params=["tmpfs", "ext4"])
def full_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Yield an image that has more sectors than there is room for in its file system."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        if request.param == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", "size=64k", "none", folder)
        else:
            outer = empty_image(tmp_path / "outer", MIB)
            run("mke2fs", "-q", "-t", "ext4", "-m", "0", outer)
            run("mount", "-o", "loop", outer, folder)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("needs root, loop devices and ext4")
    yield empty_image(folder / "disk", 4 * MIB)
    run("umount", folder)


@ENGINES
def test_a_full_file_system_is_no_space_and_room_makes_the_disk_work_again(
    no_uring: int, full_disk: Path, tmp_path: Path
) -> None:
    filler = full_disk.parent / "filler"
    fill(filler)
    faults = DiskFaults(tmp_path, no_uring=no_uring)
    with (
        obeying(tmp_path, *disk(full_disk), env=faults.variables) as vmm,
        closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
    ):
        first = vmm.ask("w 1000")
        assert first == IO_ERROR
        event = qmp.wait_event("BLOCK_IO_ERROR")
        filler.unlink()
        second = vmm.ask("w 1000")
        back = vmm.ask("r 1000")

    assert (second, back) == (0, 0x1000)
    assert event["data"]["nospace"] is True


# Ends in the middle of writes.


@pytest.mark.parametrize(
    "end",
    [ask_to_quit, *(lambda vmm, _folder, s=s: vmm.process.send_signal(s) for s in ENDING)],
    ids=["quit", *(s.name for s in ENDING)],
)
@ENGINES
def test_an_end_waits_for_a_flush_that_the_host_holds_back(
    no_uring: int, end: Callable[[Vmm, Path], None], slow_disk: tuple[Path, Path], tmp_path: Path
) -> None:
    device, folder = slow_disk
    faults = DiskFaults(tmp_path, no_uring=no_uring)
    with obeying(tmp_path, *disk(device), *SHARED, env=faults.variables) as vmm:
        used = Used(vmm)
        assert vmm.ask("w 5") == 0
        run("fsfreeze", "-f", folder)
        try:
            before = used.index
            vmm.type(b"f\n")
            assert used.stays(before)
            end(vmm, tmp_path)
            with pytest.raises(subprocess.TimeoutExpired):
                vmm.process.wait(HELD_S)
        finally:
            run("fsfreeze", "-u", folder)
        status, _, errors = vmm.finish()

    assert (status, errors) == (0, "")
    assert not (tmp_path / "qmp").exists()
    assert int.from_bytes(device.read_bytes()[5 * 512 :][:8], "little") == 5
