"""The entropy device with Linux's own driver: it is there, it gives bytes, and it keeps its rate."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.guest.linux import SMALL, TIMEOUT_S, boot, flags, words
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

RATE = 4096
COUNT = 10 * RATE // 64

READ_SOME = """
set -e
cat /sys/class/misc/hw_random/rng_current
dd if=/dev/hwrng of=/tmp/r bs=4096 count=4 iflag=fullblock 2>/dev/null
dd if=/tmp/r bs=4096 count=1 2>/dev/null | md5sum
dd if=/tmp/r bs=4096 skip=1 count=1 2>/dev/null | md5sum
stat -c 'got %s' /tmp/r
"""

MEASURE = f"""
measure() {{
read from x </proc/uptime
dd if=/dev/hwrng of=/tmp/r bs=64 count={COUNT} iflag=fullblock 2>/dev/null
read to x </proc/uptime
echo RATE $1 $from $to $(stat -c %s /tmp/r)
}}
measure before
read word </dev/ttyS0
measure after
"""


def rate(text: str, which: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(f"RATE {which} ")]
    _, _, start, end, count = line.split()
    return float(count) / (float(end) - float(start))


@pytest.mark.guidebook("2.8 random_file")
def test_linux_reads_different_bytes_from_it(tmp_path: Path) -> None:
    report = boot(*flags(SMALL, words(READ_SOME), tmp_path / "qmp", "-rng", "random_file=/dev/urandom"))

    assert report.script_status == 0, report.text[-3000:]
    assert "virtio_rng" in report.text
    assert "got 16384" in report.text
    sums = [line.split()[0] for line in report.text.splitlines() if line.endswith("  -")]
    assert len(set(sums)) == 2


@pytest.mark.guidebook("2.8 bytes_per_sec")
def test_its_rate_is_kept_before_and_after_a_pause(tmp_path: Path) -> None:
    device = ["-rng", f"random_file=/dev/urandom,bytes_per_sec={RATE}"]
    machine = flags(SMALL, words(MEASURE), tmp_path / "qmp", *device)
    with Vmm(*machine, stdin=subprocess.PIPE, timeout=TIMEOUT_S) as vmm:
        vmm.read_until(b"RATE before")
        qmp = Qmp(tmp_path / "qmp", vmm.deadline)
        qmp.call("qmp_capabilities")
        qmp.call("stop")
        with pytest.raises(subprocess.TimeoutExpired):  # time of which nothing may be saved up
            vmm.process.wait(timeout=2)
        qmp.call("cont")
        qmp.close()
        assert vmm.process.stdin is not None
        vmm.process.stdin.write(b"go\n")
        vmm.process.stdin.flush()
        status, output, errors = vmm.finish()

    assert status == 0, errors
    for which in ("before", "after"):
        assert rate(output.decode(errors="replace"), which) == pytest.approx(RATE, rel=0.05)
