"""The profiles that a newcomer starts from boot Linux as they are."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.guest.linux import TIMEOUT_S, Report, boot_profile, words
from tests.guest.pools import huge_pages
from tests.guest.vmm import Vmm

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "profiles"


@pytest.mark.parametrize("name", ["smallest.toml", "disk-root.toml", "microvm.toml", "microvm.yaml"])
def test_a_profile_boots_linux_to_its_end(name: str) -> None:
    report = boot_profile(PROFILES / name)

    assert report.status == 0, report.errors
    assert "SV-READY" in report.text
    assert "SV-END poweroff" in report.text


def drivers(report: Report) -> list[str]:
    return [line.split("driver=")[1].split()[0] for line in report.facts("virtio") if "driver=" in line]


def test_the_profile_of_consoles_boots_with_them() -> None:
    report = boot_profile(PROFILES / "console.toml")

    assert report.status == 0, report.errors
    assert drivers(report).count("virtio_console") == 2
    assert drivers(report).count("virtio_rng") == 1


def test_the_profile_of_console_and_vsock_boots_with_them() -> None:
    report = boot_profile(PROFILES / "console-vsock.toml")

    assert report.status == 0, report.errors
    assert {"virtio_console", "vmw_vsock_virtio_transport"} <= set(drivers(report))


def test_the_profile_of_many_disks_boots_with_them(tmp_path: Path) -> None:
    folder = os.environ.get("STRATOVIRT_RIG_SCRATCH", "/tmp")  # memory file systems know no O_DIRECT
    for name, size in (("data", 1 << 30), ("scratch", 4 << 30)):
        with open(f"{folder}/stratovirt-{name}.img", "wb") as image:
            image.truncate(size)
    profile = tmp_path / "many-disks.toml"
    text = (PROFILES / "many-disks.toml").read_text()
    profile.write_text(text.replace("/tmp/stratovirt-", f"{folder}/stratovirt-").replace("../", f"{ROOT}/"))
    report = boot_profile(profile)

    assert report.status == 0, report.errors
    sizes = {line.split()[0]: line.split("bytes=")[1].split()[0] for line in report.facts("disk")}
    assert (sizes["vdb"], sizes["vdc"]) == (str(1 << 30), str(4 << 30))


def test_the_profile_of_huge_pages_boots_from_the_pool() -> None:
    with huge_pages(280):
        report = boot_profile(PROFILES / "hugepages.toml")

    assert report.status == 0, report.errors


LOOK = """
echo "SV queues=$(echo $(ls /sys/class/net/eth0/queues))"
echo LOOK
read word </dev/ttyS0
"""


def vhost_workers(pid: int) -> int:
    """Return how many threads vhost has for a process: the kernel's, or of the process since Linux 6.4."""
    found = 0
    for path in (*Path("/proc").glob("[0-9]*/comm"), *Path(f"/proc/{pid}/task").glob("*/comm")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that has ended meanwhile
            found += path.read_text().strip() == f"vhost-{pid}"
    return found


def opened(pid: int, path: str) -> int:
    return [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()].count(path)


def test_the_profile_of_a_card_has_vhost_serve_two_pairs_of_queues(tmp_path: Path) -> None:
    text = (PROFILES / "net-vhost.toml").read_text().replace("../", f"{ROOT}/")
    profile = tmp_path / "net-vhost.toml"
    profile.write_text(text.replace("console=ttyS0 reboot=k panic=1 sv.end=ask", words(LOOK)))
    with Vmm("run", profile, stdin=subprocess.PIPE, timeout=TIMEOUT_S) as vmm:
        vmm.read_until(b"LOOK\r\n")
        pid = vmm.process.pid
        vhost = opened(pid, "/dev/vhost-net"), vhost_workers(pid)
        vmm.type(b"\n")
        report = Report(*vmm.finish())

    assert report.status == 0, report.errors
    assert "virtio_net" in drivers(report)
    assert report.fact("queues") == "rx-0 rx-1 tx-0 tx-1"
    assert vhost == (2, 2)
