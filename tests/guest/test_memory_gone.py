"""Memory that the host promised and does not have when it is wanted: an end with a reason, a new start."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.guest import tiny
from tests.guest.cgroups import Limited
from tests.guest.machines import MIB, disk, empty_image, obeying, started
from tests.guest.pools import MOUNT, huge_pages, pool_of
from tests.guest.vmm import COMMAND, Qmp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.kvm

NO_PAGE = "the host has no page left for guest memory"
UNTOUCHED = 128 * MIB
PUNCH = 3  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
# How a page is wanted that is not there, the status, and whether the end is an orderly one.
WANTED = pytest.mark.parametrize(
    ("command", "expected", "orderly"),
    [(f"t {UNTOUCHED:x}", 1, True), (f"d {UNTOUCHED:x}", 128 + signal.SIGBUS, False)],
    ids=["by the guest", "by a device"],
)


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system in memory that has room for one guest and a bit."""
    folder = tmp_path / "memory"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=270m", "none", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(MIB)):
                pass
        except OSError:
            return


@WANTED
def test_a_file_system_of_memory_that_has_filled_up_ends_the_machine_with_the_reason(
    command: str,
    expected: int,
    orderly: bool,  # noqa: FBT001
    small_tmpfs: Path,
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    words = [*disk(empty_image(tmp_path / "disk")), "-mem-path", str(small_tmpfs), "-D", str(log)]
    shared = ["-machine", "microvm,mem-share=on"]
    with obeying(tmp_path, *words, *shared) as vmm:
        assert vmm.ask("r 0") == 0
        fill(small_tmpfs / "filler")
        vmm.type(f"{command}\n".encode())
        status, _, errors = vmm.finish()
    left = (tmp_path / "qmp").exists()
    (small_tmpfs / "filler").unlink()
    with obeying(tmp_path, *words, *shared) as again:
        assert again.ask(command) in {0, UNTOUCHED}

    assert (status, left) == (expected, not orderly)
    assert NO_PAGE in errors
    head = rf"[-0-9]{{10}}T[:.0-9]{{18}}: \[{vmm.process.pid}\]\[\d+\]\[\w+\.(c|py): \d+\]:ERROR: "
    assert re.search(f"(?m)^{head}.*{NO_PAGE}", log.read_text())


@pytest.fixture
def pool() -> Iterator[int]:
    """Give the host as many huge pages as one guest needs."""
    with huge_pages(128):
        yield 128


@pytest.mark.linux  # where the host's pool is ours
@WANTED
def test_huge_pages_that_somebody_else_has_taken_end_the_machine_with_the_reason(
    command: str,
    expected: int,
    orderly: bool,  # noqa: FBT001
    pool: int,
    tmp_path: Path,
) -> None:
    file = MOUNT / "guest"
    file.touch()
    words = [*disk(empty_image(tmp_path / "disk")), "-mem-path", str(file)]
    try:
        with obeying(tmp_path, *words, "-machine", "microvm,mem-share=on") as vmm:
            assert vmm.ask("r 0") == 0
            assert vmm.ask(f"t {UNTOUCHED:x}") == UNTOUCHED
            take_away(file, UNTOUCHED)
            vmm.type(f"{command}\n".encode())
            status, _, errors = vmm.finish()
        left = (tmp_path / "qmp").exists()
    finally:
        file.unlink()

    assert pool == 128
    assert (status, left) == (expected, not orderly)
    assert NO_PAGE in errors


def take_away(file: Path, offset: int) -> None:
    """Give a page of the guest back to the pool, as a balloon does, and leave none of the pool."""
    fd = os.open(file, os.O_RDWR)
    try:
        code = (
            "import ctypes, sys; libc = ctypes.CDLL(None, use_errno=True)\n"
            f"sys.exit(libc.fallocate({fd}, {PUNCH}, ctypes.c_long({offset}), ctypes.c_long({2 * MIB})))"
        )
        subprocess.run([sys.executable, "-c", code], check=True, pass_fds=[fd])
    finally:
        os.close(fd)
    (pool_of(2 * MIB) / "nr_hugepages").write_text("0")  # what is free goes


# Limits of a memory cgroup.


def test_a_machine_lives_in_a_cgroup_that_its_disk_fills_with_cache(tmp_path: Path) -> None:
    image = empty_image(tmp_path / "disk", 256 * MIB)
    with Limited(64 * MIB) as group:
        words = [*disk(image), "-m", "512M"]
        with obeying(tmp_path, *words, command=[*group.words, *COMMAND], timeout=60) as vmm:
            # Four times the limit of the host's cache, flushed before it could be filled: what is not on the
            # disk yet cannot go, and the kernel may kill for it (groups of version 1 hold no writer up).
            for mib in range(256):
                assert vmm.ask(f"m {mib * MIB // 512:x}") == 0
                if mib % 16 == 15:
                    assert vmm.ask("f") == 0
            pressed = group.times_full()
            qmp = Qmp(tmp_path / "qmp", vmm.deadline)
            assert qmp.call("query-status")["status"] == "running"
            qmp.close()
            vmm.type(b"q\n")
            status, _, errors = vmm.finish()

    assert pressed > 0
    assert (status, errors) == (0, "")


def test_a_machine_that_outgrows_its_cgroup_is_killed_and_a_new_one_starts(tmp_path: Path) -> None:
    image = empty_image(tmp_path / "disk")
    with Limited(64 * MIB) as group:
        with started("devour", tmp_path, *disk(image), command=[*group.words, *COMMAND], timeout=60) as vmm:
            status = vmm.finish()[0]
        kills = group.kills()
    with obeying(tmp_path, *disk(image)) as again:
        assert again.ask("w 1") == 0

    assert status == -signal.SIGKILL
    assert kills == 1


@pytest.mark.parametrize("background", [False, True])
def test_a_start_that_its_cgroup_does_not_allow_is_never_reported_as_a_success(
    background: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    profile = tmp_path / "vm.toml"
    profile.write_text(
        f"""
version = 1
[boot]
kernel = "{tiny.build("spin")}"
[memory]
prealloc = true
[qmp]
socket = "qmp"
[process]
daemonize = {str(background).lower()}
"""
    )
    with Limited(64 * MIB) as group:
        begun = subprocess.run(
            [*group.words, *COMMAND, "run", profile], check=False, capture_output=True, text=True, timeout=60
        )
        kills = group.kills()

    assert kills >= 1
    assert begun.returncode == (1 if background else -signal.SIGKILL)
    if background:
        assert "ended before the machine ran, and could not say why" in begun.stderr
        assert "out of memory" in begun.stderr
