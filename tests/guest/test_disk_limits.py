"""What a disk may do each second, seen by Linux."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.guest.disks import MIB, READ, WRITE, image_of
from tests.guest.linux import SMALL, boot_profile, words

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]


def linux_profile(folder: Path, drive: str, script: str, cpus: int = 1) -> Path:
    """Write a profile of the small kernel with one disk, whose table `drive` is; return its path."""
    path = folder / "linux.toml"
    path.write_text(
        f'version = 1\ncpu.count = {cpus}\n[boot]\nkernel = "{SMALL[0]}"\ninitrd = "{SMALL[1]}"\n'
        f'cmdline = "{words(script, more="quiet")}"\n[serial]\n[qmp]\nsocket = "{folder}/qmp"\n'
        f"[drive.d]\ndirect = false\n{drive}\n",
        encoding="utf-8",
    )
    return path


# Block size, and how many of them take 4 s: few, so that a guest in the rig could do several times as many.
LIMITS = {
    "iops": ("iops = 50", READ, 4096, 200),
    "read_ops": ("limit.read_ops = 50", READ, 4096, 200),
    "write_ops": ("limit.write_ops = 50", WRITE, 4096, 200),
    "bytes": ('limit.bytes = "4M"', READ, 65536, 256),
    "read_bytes": ('limit.read_bytes = "4M"', READ, 65536, 256),
    "write_bytes": ('limit.write_bytes = "4M"', WRITE, 65536, 256),
}


@pytest.mark.guidebook("2.2 iops")
@pytest.mark.parametrize("kind", LIMITS)
def test_a_limit_is_kept_within_five_percent(kind: str, tmp_path: Path) -> None:
    """A rig that stood still for a moment measures again; none may ever be too fast."""
    limit, command, block, count = LIMITS[kind]
    image = image_of(tmp_path, 32 * MIB)
    script = f"""
now() {{ read up rest </proc/uptime; echo ${{up%.*}}${{up#*.}}; }}
for try in 1 2 3; do
begin=$(now)
{command} bs={block} count={count} 2>/dev/null || exit 7
took=$(($(now) - begin))
echo TOOK $took
[ $took -gt 420 ] || break
done
"""
    report = boot_profile(linux_profile(tmp_path, f'file = "{image}"\n{limit}', script))
    took = [int(line.split()[1]) for line in report.text.splitlines() if line.startswith("TOOK ")]

    assert report.script_status == 0, report.text[-2000:]
    assert min(took) >= 380, took
    assert took[-1] <= 420, took


def test_a_limited_direction_does_not_hold_the_other_one_up(tmp_path: Path) -> None:
    image = image_of(tmp_path, 64 * MIB)
    script = f"""
{WRITE} bs=64k count=64 &
sleep 1
{READ} bs=64k count=64 skip=512 || exit 7
kill -0 $! || exit 8
"""
    report = boot_profile(linux_profile(tmp_path, f'file = "{image}"\nlimit.write_bytes = "256K"', script, 2))

    assert report.script_status == 0, report.text[-2000:]
