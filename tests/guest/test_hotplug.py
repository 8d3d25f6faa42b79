"""Hot replace with Linux's drivers (guidebook, 3.4): disks and cards come and go while the guest runs."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.guest.linux import SMALL, TIMEOUT_S, file_in_image, flags, words
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

ROUNDS = 10
MIB = 1 << 20

# Makes a file system on each disk that comes, writes a file, and waits until the disk is gone again.
USE_DISKS = f"""
ls /sys/block | grep -c '^vd' | sed 's/^/DISKS /'
set -e
for round in $(seq {ROUNDS}); do
  echo "WAITS $round"
  while [ $(cat /sys/block/vdb/size) = 0 ]; do sleep 0.05; done
  echo "SIZE $(cat /sys/block/vdb/size)"
  mke2fs -F /dev/vdb >/dev/null 2>&1
  mkdir -p /tmp/disk
  mount -t ext4 /dev/vdb /tmp/disk
  dd if=/dev/urandom of=/tmp/disk/data bs=4k count=64 2>/dev/null
  sum=$(md5sum < /tmp/disk/data)
  umount /tmp/disk
  echo "SUM $round $sum END $round"
  while [ $(cat /sys/block/vdb/size) != 0 ]; do sleep 0.05; done
done
"""


def image_of(folder: Path, number: int) -> Path:
    image = folder / f"disk{number}.img"
    with image.open("wb") as file:
        file.truncate((16 + number) * MIB)
    return image


@pytest.mark.guidebook("3.4.1 block", "2.2 path_on_host")
def test_a_disk_comes_and_goes_ten_times_and_what_was_written_is_there(tmp_path: Path) -> None:
    cmdline = words(USE_DISKS)
    with (
        Vmm(*flags(SMALL, cmdline, tmp_path / "qmp"), timeout=TIMEOUT_S) as vmm,
        closing(Qmp(tmp_path / "qmp", vmm.deadline)) as qmp,
    ):
        for number in range(1, ROUNDS + 1):
            vmm.read_until(f"WAITS {number}\r\n".encode())
            image = image_of(tmp_path, number)
            qmp.call(
                "blockdev-add",
                **{
                    "node-name": "drive-0",
                    "file": {"driver": "file", "filename": str(image)},
                    "cache": {"direct": False},
                },
            )
            qmp.call("device_add", id="drive-0", driver="virtio-blk-mmio", addr="0x1")
            vmm.read_until(f"END {number}\r\n".encode())
            qmp.call("device_del", id="drive-0")
            assert qmp.messages[-2]["data"] == {"device": "drive-0", "path": str(image)}
        status, output_bytes, errors = vmm.finish()

    text = output_bytes.decode()
    assert status == 0, errors
    assert "DISKS 4" in text
    for number in range(1, ROUNDS + 1):
        image = tmp_path / f"disk{number}.img"
        assert f"SIZE {(16 + number) * MIB // 512}" in text
        digest = hashlib.md5(file_in_image(image, "/data", tmp_path)).hexdigest()
        assert f"SUM {number} {digest}" in text


def test_the_slots_of_a_profile_are_as_many_as_it_says(tmp_path: Path) -> None:
    profile = tmp_path / "guest.toml"
    profile.write_text(
        f"""
version = 1
[machine]
drive_slots = 2
net_slots = 0
[boot]
kernel = "{SMALL[0]}"
initrd = "{SMALL[1]}"
cmdline = "{words("ls /sys/block | grep -c '^vd' | sed 's/^/DISKS /'")}"
[serial]
"""
    )
    with Vmm("run", profile, timeout=TIMEOUT_S) as vmm:
        status, output, errors = vmm.finish()

    assert status == 0, errors
    assert b"DISKS 2" in output
