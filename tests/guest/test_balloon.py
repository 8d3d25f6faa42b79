"""The balloon with Linux's driver: memory leaves the process and comes back, however the guest gives it."""

from __future__ import annotations

import select
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest.linux import CLOUD, SMALL, TIMEOUT_S, words
from tests.guest.pools import huge_pages
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

MIB = 1 << 20
RAM = 512 * MIB
HUGE_PAGE = 2 * MIB

# The memory that the guest has, whenever it changes: without deflate-on-oom Linux counts the balloon out.
TELL_TOTAL = """
total() { sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; }
fill() { mount -o remount,size=95% /tmp; dd if=/dev/zero of=/tmp/fill bs=1M count=$1 2>/dev/null; }
"""
WATCH = 'while :; do now=$(total); [ $now = "$last" ] || echo TOTAL $now; last=$now; sleep 0.2; done'


class Machine:
    """A running guest with a QMP client."""

    def __init__(self, vmm: Vmm, qmp: Qmp) -> None:
        self.vmm = vmm
        self.qmp = qmp

    def resident(self) -> int:
        """Return the bytes of memory that the process has."""
        status = Path(f"/proc/{self.vmm.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024

    def actual(self) -> int:
        size: int = self.qmp.call("query-balloon")["actual"]
        return size

    def stats(self) -> dict[str, int]:
        stats: dict[str, int] = self.qmp.call("query-balloon-stats")["stats"]
        return stats

    def balloon(self, size: int) -> None:
        """Set the target, and wait for the event that says that the guest reached it."""
        self.qmp.call("balloon", value=size)
        while self.qmp.wait_event("BALLOON_CHANGED")["data"]["actual"] != size:
            pass

    def wait(self, condition: Callable[[], bool]) -> None:
        """Look until a condition holds: what the host takes back, nobody announces."""
        while not condition():
            assert time.monotonic() < self.vmm.deadline, self.vmm.output[-2000:]
            select.select([], [], [], 0.1)


@contextmanager
def running(
    tmp_path: Path,
    script: str,
    *balloon: str,
    kernel: Sequence[Path] = SMALL,
    share: bool = False,
    backing: str = "",
) -> Iterator[Machine]:
    """Run a guest with a balloon and a script, which need not end."""
    profile = tmp_path / "guest.toml"
    lines = "\n".join(balloon)
    profile.write_text(
        f"""
version = 1
[memory]
size = {RAM}
share = {str(share).lower()}
{backing}
[boot]
kernel = "{kernel[0]}"
initrd = "{kernel[1]}"
cmdline = "{words(TELL_TOTAL + script, more="quiet")}"
[serial]
[qmp]
socket = "{tmp_path}/qmp"
[balloon]
{lines}
"""
    )
    with Vmm("run", profile, timeout=TIMEOUT_S) as vmm:
        vmm.read_until(b"SV-READY")
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        with closing(qmp):
            yield Machine(vmm, qmp)


def shrink_and_grow(machine: Machine) -> None:
    """Take half of a guest's memory, of which it used almost all, and give it back."""
    machine.vmm.read_until(b"TOTAL ")
    assert machine.actual() == RAM
    full = machine.resident()
    assert full > 400 * MIB

    machine.balloon(RAM // 2)
    assert machine.actual() == RAM // 2
    assert machine.resident() < full - 160 * MIB
    # The guest looks a few times a second: it has to have seen this before there is more again.
    machine.wait(lambda: totals(machine)[-1] <= totals(machine)[0] - (RAM // 2 >> 10))

    machine.balloon(RAM)
    assert machine.actual() == RAM


@pytest.mark.guidebook("3.5.1 balloon", "3.5.2 query-balloon")
@pytest.mark.parametrize("share", [False, True], ids=["private", "shared"])
def test_half_of_the_memory_leaves_the_process_and_comes_back(share: bool, tmp_path: Path) -> None:  # noqa: FBT001
    script = f"fill 400; rm /tmp/fill\n{WATCH}"
    with running(tmp_path, script, "free_page_reporting = false", share=share) as machine:
        shrink_and_grow(machine)
        machine.wait(lambda: totals(machine)[-1] == totals(machine)[0])


@pytest.fixture
def free_huge_pages() -> Iterator[Path]:
    """Give the host huge pages for a guest; return how many of them are free, as a file."""
    with huge_pages(RAM // HUGE_PAGE) as pool:
        yield pool / "free_hugepages"


@pytest.mark.parametrize("share", [False, True], ids=["private", "shared"])
def test_huge_pages_go_back_to_their_pool(share: bool, free_huge_pages: Path, tmp_path: Path) -> None:  # noqa: FBT001
    def free() -> int:
        return int(free_huge_pages.read_text()) * HUGE_PAGE

    script = f"fill 400; rm /tmp/fill\n{WATCH}"
    backing = 'path = "/dev/hugepages"'
    with running(tmp_path, script, "free_page_reporting = false", share=share, backing=backing) as machine:
        machine.vmm.read_until(b"TOTAL ")
        full = free()
        machine.balloon(RAM // 2)
        given = free() - full

        # Linux fills its balloon with small pages from wherever they are free: some huge ones stay in part.
        assert given > RAM // 4
        machine.balloon(RAM)
        assert machine.actual() == RAM


TAKE_BACK = """fill 400; rm /tmp/fill; all=$(total); echo TOTAL
until [ $(total) -lt $all ]; do sleep 0.2; done; echo GIVEN
until [ $(total) = $all ]; do sleep 0.2; done; fill 400; echo FILLED"""


@pytest.mark.parametrize("share", [False, True], ids=["private", "shared"])
def test_a_guest_waits_for_huge_pages_that_somebody_else_has_by_now(
    share: bool,  # noqa: FBT001
    free_huge_pages: Path,
    tmp_path: Path,
) -> None:
    number = free_huge_pages.with_name("nr_hugepages")
    log = tmp_path / "log"
    more = ("[log]", f'file = "{log}"')
    with running(tmp_path, TAKE_BACK, *more, share=share, backing='path = "/dev/hugepages"') as machine:
        machine.vmm.read_until(b"TOTAL")
        machine.balloon(RAM // 2)
        machine.vmm.read_until(b"GIVEN")
        gone = int(free_huge_pages.read_text())
        if not share and int(free_huge_pages.with_name("resv_hugepages").read_text()) >= gone:
            pytest.skip("this Linux keeps the pages for whom they were: nobody else gets them")
        number.write_text(str(RAM // HUGE_PAGE - gone))
        machine.qmp.call("balloon", value=RAM)
        machine.wait(lambda: "it waits until one is free" in log.read_text())
        assert machine.actual() < RAM
        Path("/proc/sys/vm/compact_memory").write_text("1")
        number.write_text(str(RAM // HUGE_PAGE))
        machine.vmm.read_until(b"FILLED")
        machine.wait(lambda: machine.actual() == RAM)

    assert gone * HUGE_PAGE > RAM // 8
    assert log.read_text().count("it waits") == 1


def totals(machine: Machine) -> list[int]:
    """Return what the guest counted as its memory, in KiB."""
    machine.vmm.read_available()
    lines = machine.vmm.output.decode(errors="replace").split("\n")[:-1]
    return [int(line.split()[1]) for line in lines if line.startswith("TOTAL ")]


@pytest.mark.parametrize(
    ("kernel", "share"), [(SMALL, False), (SMALL, True), (CLOUD, False)], ids=["small", "shared", "cloud"]
)
def test_a_guest_reports_the_memory_that_it_freed(
    kernel: Sequence[Path],
    share: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    script = """
fill 300
first=$(total)
echo FILLED
while [ $(total) = $first ]; do sleep 0.2; done # until the host has looked
rm /tmp/fill
while :; do sleep 1000; done
"""
    with running(tmp_path, script, kernel=kernel, share=share) as machine:
        machine.vmm.read_until(b"FILLED")
        full = machine.resident()
        assert full > 300 * MIB
        machine.balloon(RAM - MIB)

        machine.wait(lambda: machine.resident() < full - 240 * MIB)


@pytest.mark.guidebook("2.7 deflate_on_oom")
def test_a_guest_that_runs_out_of_memory_deflates_its_balloon(tmp_path: Path) -> None:
    script = """
while [ $(sed -n 's/^MemFree: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo) -gt 160000 ]; do sleep 0.2; done
fill 240
echo FILLED $(stat -c %s /tmp/fill)
while :; do sleep 1000; done
"""
    with running(tmp_path, script, "deflate_on_oom = true") as machine:
        machine.balloon(RAM // 4)
        machine.vmm.read_until(f"FILLED {240 * MIB}".encode())

        assert machine.actual() > RAM // 4


def test_a_guest_tells_plausible_statistics(tmp_path: Path) -> None:
    with running(tmp_path, "fill 200; echo FILLED; while :; do sleep 1000; done") as machine:
        machine.vmm.read_until(b"FILLED")
        # The driver tells once when it starts; each question brings newer figures, a little later.
        machine.wait(lambda: machine.stats().get("stat-disk-caches", 0) > 200 * MIB)
        stats = machine.stats()
        told = machine.qmp.call("query-balloon-stats")["last-update"]

    total = stats["stat-total-memory"]
    assert RAM - 64 * MIB < total < RAM
    assert 0 < stats["stat-free-memory"] < total - 200 * MIB
    assert stats["stat-available-memory"] < total - 100 * MIB
    assert time.time() - 60 < told <= time.time()


def test_flags_make_a_balloon_that_quit_ends(tmp_path: Path) -> None:
    words_of_guest = words("while :; do sleep 1000; done", more="quiet")
    kernel, initrd = SMALL
    with Vmm(
        "-machine", "microvm", "-m", "512M", "-kernel", kernel, "-initrd", initrd,
        "-append", words_of_guest, "-serial", "stdio", "-qmp", f"unix:{tmp_path}/qmp",
        "-device", "virtio-balloon-device,deflate-on-oom=true", timeout=TIMEOUT_S,
    ) as vmm:  # fmt: skip
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        with pytest.raises(RuntimeError, match="No balloon device has been activated"):
            qmp.call("query-balloon")
        vmm.read_until(b"SV-READY")
        Machine(vmm, qmp).balloon(RAM // 2)
        qmp.call("balloon", value=RAM)
        qmp.call("quit")
        status, _output, errors = vmm.finish()
        qmp.close()

    assert (status, errors) == (0, "")
