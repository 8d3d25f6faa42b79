"""Where guest memory comes from on the host: folders, files, huge pages; and that nothing of it is left."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest import tiny
from tests.guest.linux import SMALL, TIMEOUT_S, boot, flags, words
from tests.guest.pools import MOUNT, huge_pages, pool_of
from tests.guest.vmm import Vmm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kvm

MIB = 1 << 20
LOADED_AT = 16 * MIB  # where a tiny guest's flat image lies
POOL = pool_of(2 * MIB)


def started(folder: Path, guest: str, *more: str | Path) -> Vmm:
    return Vmm("-kernel", tiny.build(guest), "-serial", "stdio", "-qmp", f"unix:{folder}/qmp", *more)


def profile(folder: Path, memory: str, guest: str = "spin") -> Path:
    path = folder / "vm.toml"
    path.write_text(
        f'version = 1\n[boot]\nkernel = "{tiny.build(guest)}"\n[serial]\n[memory]\n{memory}\n',
        encoding="utf-8",
    )
    return path


def mappings(pid: int, size: int) -> list[dict[str, str]]:
    """Return what /proc says of the mappings of a size: its fields, and the range as "place"."""
    found: list[dict[str, str]] = []
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            found.append({"place": first})
        else:
            found[-1][first.rstrip(":")] = " ".join(rest)
    return [entry for entry in found if entry["Size"] == f"{size >> 10} kB"]


@pytest.mark.parametrize("share", ["off", "on"])
def test_a_folder_gives_memory_and_keeps_nothing_of_it(share: str, tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    with started(tmp_path, "hello", "-mem-path", folder, "-machine", f"microvm,mem-share={share}") as vmm:
        status, output, errors = vmm.finish()

    assert (status, output, errors) == (0, b"hello\n", "")
    assert list(folder.iterdir()) == []


def test_nothing_is_left_after_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    with started(tmp_path, "spin", "-mem-path", folder / "absent") as vmm:
        vmm.read_until(b"spinning\n")
        during = list(folder.iterdir())
        vmm.process.send_signal(signal.SIGKILL)
        vmm.process.wait()

    assert during == []
    assert list(folder.iterdir()) == []


def test_an_empty_file_is_grown_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    file.touch()
    with started(tmp_path, "hello", "-mem-path", file, "-machine", "microvm,mem-share=on") as vmm:
        status, _, errors = vmm.finish()
    kernel = tiny.build("hello").read_bytes()

    assert (status, errors) == (0, "")
    assert file.stat().st_size == 256 * MIB
    with file.open("rb") as memory:
        memory.seek(LOADED_AT)
        assert memory.read(64) == kernel[:64]


def test_a_private_file_does_not_change(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    with file.open("wb") as memory:
        memory.truncate(300 * MIB)
    with started(tmp_path, "hello", "-mem-path", file) as vmm:
        status, _, errors = vmm.finish()

    assert (status, errors) == (0, "")
    assert (file.stat().st_size, file.stat().st_blocks) == (300 * MIB, 0)


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def small_file(folder: Path) -> Path:
    (folder / "small").write_bytes(bytes(4096))
    return folder / "small"


# Nobody can make a file in /proc/self, not even root.
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no folder": (lambda folder: folder / "none" / "file", "No such file or directory"),
    "a device": (lambda _: Path("/dev/null"), "neither a folder nor a regular file"),
    "a pipe": (fifo, "neither a folder nor a regular file"),
    "too small": (small_file, "has 4K, and the guest 256M"),
    "not writable": (lambda _: Path("/proc/self"), "make a file in /proc/self"),
    "a part that is a file": (lambda folder: small_file(folder) / "file", "Not a directory"),
    "a pool that is not mounted": (
        lambda _: Path("/dev/no-such-pool"),
        "no file system is mounted at /dev/no-such-pool, and /dev is no place for a guest's memory",
    ),
    "the folder of devices": (lambda _: Path("/dev"), "no file system is mounted at /dev,"),
    "relative": (lambda _: Path("memory"), "not an absolute path"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_memory_is_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    make, reason = REFUSED[kind]
    with started(tmp_path, "hello", "-mem-path", make(tmp_path)) as vmm:
        status, output, errors = vmm.finish()

    assert (status, output) == (1, b"")
    assert reason in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "qmp").exists()


def test_more_than_the_file_system_has_is_refused_with_numbers_and_leaves_the_file(tmp_path: Path) -> None:
    room = os.statvfs(tmp_path)
    if room.f_bavail * room.f_frsize > 512 << 30:
        pytest.skip("there is room for 512G here")
    file = tmp_path / "memory"
    file.touch()
    with started(tmp_path, "hello", "-m", "512G", "-mem-path", file) as vmm:
        status, _, errors = vmm.finish()

    assert status == 1
    assert "512G do not fit" in errors
    assert file.stat().st_size == 0


def test_512_gib_start_on_a_host_that_has_less(tmp_path: Path) -> None:
    with started(tmp_path, "hello", "-m", "512G") as vmm:
        status, output, errors = vmm.finish()

    assert (status, output, errors) == (0, b"hello\n", "")


def size_of(file: Path) -> int:
    """Return a file's size; -1 for a descriptor that was closed meanwhile: modules are still read."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return -1


@pytest.mark.parametrize("backing", ["memfd", "file"])
def test_another_process_maps_shared_memory(backing: str, tmp_path: Path) -> None:
    more = ["-mem-path", str(tmp_path)] if backing == "file" else []
    with started(tmp_path, "spin", "-machine", "microvm,mem-share=on", *more) as vmm:
        vmm.read_until(b"spinning\n")
        fds = Path(f"/proc/{vmm.process.pid}/fd")
        (shared,) = [fd for fd in fds.iterdir() if size_of(fd) == 256 * MIB]
        with shared.open("r+b") as file, mmap.mmap(file.fileno(), 256 * MIB) as memory:
            seen = memory[LOADED_AT : LOADED_AT + 64]

    assert seen == tiny.build("spin").read_bytes()[:64]


@pytest.mark.parametrize(("word", "excluded"), [("on", False), ("off", True)])
def test_a_core_file_has_guest_memory_or_not(word: str, excluded: bool, tmp_path: Path) -> None:  # noqa: FBT001
    with started(tmp_path, "spin", "-machine", f"microvm,dump-guest-core={word}") as vmm:
        vmm.read_until(b"spinning\n")
        (memory,) = mappings(vmm.process.pid, 256 * MIB)

    assert ("dd" in memory["VmFlags"].split()) is excluded


@pytest.mark.parametrize("share", ["false", "true"])
def test_every_page_is_there_before_the_guest_starts(share: str, tmp_path: Path) -> None:
    with Vmm("run", profile(tmp_path, f"prealloc = true\nshare = {share}")) as vmm:
        vmm.read_until(b"spinning\n")
        (memory,) = mappings(vmm.process.pid, 256 * MIB)

    assert memory["Rss"] == f"{256 << 10} kB"


def test_without_prealloc_pages_come_with_their_use(tmp_path: Path) -> None:
    with Vmm("run", profile(tmp_path, "")) as vmm:
        vmm.read_until(b"spinning\n")
        (memory,) = mappings(vmm.process.pid, 256 * MIB)

    assert int(memory["Rss"].split()[0]) < 8 << 10


def test_memory_that_cannot_be_allocated_before_the_start_is_refused_with_numbers(tmp_path: Path) -> None:
    with Vmm("run", profile(tmp_path, 'prealloc = true\nsize = "512G"')) as vmm:
        status, _, errors = vmm.finish()

    assert status == 1
    assert "512G cannot be allocated before the start: the host has" in errors


def test_memory_is_aligned_and_made_of_huge_pages_when_asked(tmp_path: Path) -> None:
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not enabled.exists() or "[never]" in enabled.read_text():
        pytest.skip("needs transparent huge pages")
    with Vmm("run", profile(tmp_path, "prealloc = true\ntransparent_hugepages = true")) as vmm:
        vmm.read_until(b"spinning\n")
        (memory,) = mappings(vmm.process.pid, 256 * MIB)

    assert int(memory["place"].partition("-")[0], 16) % (2 * MIB) == 0
    assert int(memory["AnonHugePages"].split()[0]) > 128 << 10


@pytest.fixture
def pool() -> Iterator[int]:
    """Give the host 200 huge pages of 2 MiB for a while; return how many there are."""
    with huge_pages(200):
        yield 200


def free_pages() -> int:
    return int((POOL / "free_hugepages").read_text()) - int((POOL / "resv_hugepages").read_text())


def huge_flags(share: str, tmp_path: Path) -> list[str | Path]:
    given = flags(SMALL, words("echo fine"), tmp_path / "qmp", "-mem-path", MOUNT, memory="256M")
    given[given.index("microvm")] = f"microvm,mem-share={share}"
    return given


@pytest.mark.linux
@pytest.mark.parametrize("share", ["off", "on"])
def test_linux_runs_on_huge_pages_and_gives_them_back(share: str, pool: int, tmp_path: Path) -> None:
    report = boot(*huge_flags(share, tmp_path))

    assert report.status == 0, report.errors
    assert "fine" in report.text
    assert free_pages() == pool
    assert list(MOUNT.iterdir()) == []


@pytest.mark.linux
def test_huge_pages_are_taken_from_the_pool_while_the_guest_runs(pool: int, tmp_path: Path) -> None:
    with Vmm("run", profile(tmp_path, f'path = "{MOUNT}"\nprealloc = true')) as vmm:
        vmm.read_until(b"spinning\n")
        during = int((POOL / "free_hugepages").read_text())

    assert during == pool - 128


@pytest.mark.linux
@pytest.mark.parametrize("prealloc", ["false", "true"])
def test_a_pool_that_is_too_small_is_told_with_numbers(prealloc: str, pool: int, tmp_path: Path) -> None:
    with Vmm("run", profile(tmp_path, f'path = "{MOUNT}"\nsize = "1G"\nprealloc = {prealloc}')) as vmm:
        status, output, errors = vmm.finish()

    assert (status, output) == (1, b"")
    assert f"1G need 512 pages of 2M, and the host has {pool} free of {pool}" in errors
    assert "nr_hugepages" in errors


@pytest.mark.linux
@pytest.mark.usefixtures("pool")
def test_half_a_huge_page_is_refused_with_the_next_size(tmp_path: Path) -> None:
    with started(tmp_path, "hello", "-m", "257M", "-mem-path", MOUNT) as vmm:
        status, _, errors = vmm.finish()

    assert status == 1
    assert "257M is not a multiple of the 2M pages" in errors
    assert "ask for 258M" in errors
    assert list(MOUNT.iterdir()) == []


@pytest.fixture
def gibibyte(tmp_path: Path) -> Iterator[Path]:
    """Give the host one huge page of 1 GiB for a while; return a hugetlbfs of such pages."""
    folder = tmp_path / "pages"
    folder.mkdir()
    with huge_pages(1, 1 << 30):
        subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=1G", "none", folder], check=True)
        yield folder
        subprocess.run(["umount", folder], check=True)


@pytest.mark.linux
def test_linux_runs_on_a_page_of_one_gibibyte_and_others_are_refused(gibibyte: Path, tmp_path: Path) -> None:
    with started(tmp_path, "hello", "-m", "1536M", "-mem-path", gibibyte) as vmm:
        status, _, errors = vmm.finish()
    assert status == 1
    assert "1536M is not a multiple of the 1G pages" in errors

    guest = flags(SMALL, words("read line"), tmp_path / "qmp", "-mem-path", gibibyte, memory="1G")
    with Vmm(*guest, stdin=subprocess.PIPE, timeout=TIMEOUT_S) as vmm:
        vmm.read_until(b"SV-READY")
        (memory,) = mappings(vmm.process.pid, 1 << 30)
        assert vmm.process.stdin is not None
        vmm.process.stdin.write(b"\n")
        vmm.process.stdin.flush()
        status, _, errors = vmm.finish()

    assert status == 0, errors
    assert memory["KernelPageSize"] == "1048576 kB"
    assert list(gibibyte.iterdir()) == []
