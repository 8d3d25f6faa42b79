"""I/O threads with Linux's drivers: each device is served by the thread that it names, and by no other."""

from __future__ import annotations

import socket
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.guest.counts import sleeps
from tests.guest.linux import SMALL, TIMEOUT_S, words
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

TURNS = 40
SERVES = TURNS // 4  # times that a thread slept while it served so many; an idle one does not wake up
MIB = 1 << 20

ON_KEY = f"""
while read what </dev/ttyS0; do
case $what in
rng) dd if=/dev/hwrng of=/dev/null bs=64 count={TURNS} 2>/dev/null ;;
console) for n in $(seq {TURNS}); do echo "line $n" >/dev/hvc0; done ;;
end) break ;;
esac
echo "DONE $what"
done
"""


def profile_with_a_thread_each(folder: Path) -> Path:
    """Return a profile whose devices have I/O threads of their own, named after them."""
    lines = [
        "version = 1",
        'memory.size = "512M"',
        f'boot = {{ kernel = "{SMALL[0]}", initrd = "{SMALL[1]}", cmdline = "{words(ON_KEY)}" }}',
        'qmp.socket = "qmp"',
        "[serial]",
        'rng = { file = "/dev/urandom", iothread = "rng" }',
        'console.c = { path = "console", iothread = "console" }',
        'vsock = { guest_cid = 3, backend = "unix", socket = "vsock", iothread = "vsock" }',
        'balloon = { free_page_reporting = false, iothread = "balloon" }',
        *(f"[iothread.{name}]" for name in ("rng", "console", "vsock", "balloon", "idle")),
    ]
    path = folder / "vm.toml"
    # Plain keys stand before the first table.
    path.write_text("\n".join(sorted(lines, key=lambda line: line.startswith("["))))
    return path


def connect(folder: Path, rounds: int) -> None:
    """Ask for a port where no one listens: the guest refuses, and the connection ends."""
    for _ in range(rounds):
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(TIMEOUT_S)
            stream.connect(str(folder / "vsock"))
            stream.sendall(b"CONNECT 9\n")
            assert stream.recv(1) == b""


def squeeze(qmp: Qmp, rounds: int) -> None:
    """Take 16 MiB from the guest and give them back, again and again."""
    for _ in range(rounds):
        for size in (496 * MIB, 512 * MIB):
            qmp.call("balloon", value=size)
            while qmp.call("query-balloon")["actual"] != size:
                qmp.wait_event("BALLOON_CHANGED")


@pytest.mark.guidebook("2.1 id")
def test_the_thread_that_a_device_names_serves_it_and_no_other_one_does(tmp_path: Path) -> None:
    def served_by(work: Callable[[], object]) -> set[str]:
        before = sleeps(vmm.process.pid)
        work()
        after = sleeps(vmm.process.pid)
        return {name for name in before if name in served and after[name] - before[name] >= SERVES}

    def in_the_guest(what: str) -> None:
        vmm.type(f"{what}\n".encode())
        vmm.read_until(f"DONE {what}".encode())

    served: dict[str, set[str]] = {name: set() for name in ("rng", "console", "vsock", "balloon", "idle")}
    profile = profile_with_a_thread_each(tmp_path)
    with Vmm("run", profile, stdin=subprocess.PIPE, timeout=TIMEOUT_S) as vmm:
        vmm.read_until(b"SV-READY")  # its drivers are there
        with closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp:
            qmp.call("qmp_capabilities")
            served["rng"] = served_by(lambda: in_the_guest("rng"))
            served["console"] = served_by(lambda: in_the_guest("console"))
            served["vsock"] = served_by(lambda: connect(tmp_path, TURNS))
            served["balloon"] = served_by(lambda: squeeze(qmp, TURNS // 4))
        vmm.type(b"end\n")
        status, _, errors = vmm.finish()

    assert status == 0, errors
    assert served == {name: {name} - {"idle"} for name in served}
