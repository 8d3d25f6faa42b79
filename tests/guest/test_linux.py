"""Linux guests with their real drivers: they boot by every protocol, find every device, and end well."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.guest.linux import (
    CLOUD,
    ROOT_IMAGE,
    SMALL,
    SMALL_ELF,
    boot,
    boot_profile,
    file_in_image,
    flags,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

WRITE_AND_SUM = """
set -e
dd if=/dev/urandom of=/data bs=64k count=32 2>/dev/null
sync
md5sum /data
"""

# Without ACPI a guest knows no way to switch itself off.
END_OF = {"": "poweroff", "acpi=off": "reboot"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root file system of our own."""
    image = tmp_path / "root.ext4"
    shutil.copy(ROOT_IMAGE, image)
    return image


def drive(image: Path, *, name: str = "root", more: str = "", device: str = "") -> list[str]:
    return [
        "-drive", f"id={name},file={image},direct=off{more}",
        "-device", f"virtio-blk-device,drive={name}{device}",
    ]  # fmt: skip


@pytest.mark.guidebook("2.2 names", "2.2 path_on_host", "2.6 stdio")
@pytest.mark.parametrize("kernel", [CLOUD, SMALL, SMALL_ELF], ids=["cloud", "small", "small-elf"])
@pytest.mark.parametrize("cpus", [1, 2])
def test_a_kernel_boots_from_flags_and_its_writes_are_on_the_disk(
    kernel: Sequence[Path], cpus: int, root: Path, tmp_path: Path
) -> None:
    cmdline = words(WRITE_AND_SUM, more="root=/dev/vda")
    report = boot(*flags(kernel, cmdline, tmp_path / "qmp", "-smp", str(cpus), *drive(root)))

    assert report.status == 0, report.errors
    assert report.fact("cpus") == str(cpus)
    assert report.script_status == 0
    digest = hashlib.md5(file_in_image(root, "/data", tmp_path)).hexdigest()
    assert f"{digest}  /data" in report.text
    assert not (tmp_path / "qmp").exists()


@pytest.mark.guidebook("2.2 names")
@pytest.mark.parametrize("kernel", [CLOUD, SMALL], ids=["cloud", "small"])
@pytest.mark.parametrize("cpus", [1, 2])
def test_a_kernel_boots_from_a_profile(kernel: Sequence[Path], cpus: int, root: Path, tmp_path: Path) -> None:
    profile = tmp_path / "guest.toml"
    profile.write_text(
        f"""
version = 1
cpu.count = {cpus}
memory.size = "512M"
[boot]
kernel = "{kernel[0]}"
initrd = "{kernel[1]}"
cmdline = "{words(WRITE_AND_SUM, more="root=/dev/vda")}"
[serial]
backend = "stdio"
[iothread.disks]
[drive.root]
file = "root.ext4"
direct = false
iothread = "disks"
"""
    )
    report = boot_profile(profile)

    assert report.status == 0, report.errors
    assert report.fact("cpus") == str(cpus)
    digest = hashlib.md5(file_in_image(root, "/data", tmp_path)).hexdigest()
    assert f"{digest}  /data" in report.text


def test_a_disk_is_the_root_without_any_initrd(root: Path, tmp_path: Path) -> None:
    cmdline = words("test -e /sbin/init", more="root=/dev/vda rw")
    report = boot(*flags(SMALL[:1], cmdline, tmp_path / "qmp", *drive(root)))

    assert (report.status, report.script_status) == (0, 0)


@pytest.mark.parametrize("end", ["poweroff", "reboot", "panic"])
@pytest.mark.parametrize("kernel", [CLOUD, SMALL], ids=["cloud", "small"])
def test_every_end_of_a_linux_guest_ends_the_process_with_0(
    end: str, kernel: Sequence[Path], tmp_path: Path
) -> None:
    report = boot(*flags(kernel, words(end=end), tmp_path / "qmp"))

    assert report.status == 0, report.errors
    assert f"SV-END {end}" in report.text


@pytest.mark.parametrize("how", ["t", "k", "a"])
def test_each_way_to_reset_ends_the_process_with_0(how: str, tmp_path: Path) -> None:
    cmdline = words(end="reboot").replace("reboot=k", f"reboot={how}")
    report = boot(*flags(SMALL, cmdline, tmp_path / "qmp"))

    assert report.status == 0, report.errors


@pytest.mark.guidebook("2.2 read_only", "2.2 serial_num")
def test_a_read_only_disk_with_a_serial_number_is_seen_as_such(root: Path, tmp_path: Path) -> None:
    before = hashlib.md5(root.read_bytes()).hexdigest()
    script = """
cat /sys/block/vda/ro /sys/block/vda/serial
dd if=/dev/zero of=/dev/vda bs=4k count=1 && exit 9
md5sum /dev/vda
"""
    report = boot(
        *flags(SMALL, words(script), tmp_path / "qmp", *drive(root, more=",readonly=on,serial=disk-17"))
    )

    assert report.script_status == 0
    assert "disk-17" in report.text
    assert f"{before}  /dev/vda" in report.text


def test_a_driver_can_be_unbound_and_bound_again(root: Path, tmp_path: Path) -> None:
    script = """
set -e
cd /sys/bus/virtio/drivers/virtio_blk
device=$(basename $(readlink -f /sys/block/vda/device))
for round in 1 2 3; do
  dd if=/dev/vda of=/dev/null bs=1M count=1 2>/dev/null
  echo "$device" > unbind
  test ! -e /dev/vda
  echo "$device" > bind
  test -e /dev/vda
done
dd if=/dev/vda bs=1M count=1 2>/dev/null | md5sum
"""
    with root.open("rb") as image:
        digest = hashlib.md5(image.read(1 << 20)).hexdigest()
    report = boot(*flags(SMALL, words(script), tmp_path / "qmp", *drive(root)))

    assert report.script_status == 0, report.text[-3000:]
    assert digest in report.text


@pytest.mark.parametrize(("kernel", "more"), [(CLOUD, ""), (SMALL, ""), (SMALL, "acpi=off")])
def test_a_guest_sees_254_vcpus_in_its_tables(kernel: Sequence[Path], more: str, tmp_path: Path) -> None:
    cmdline = words(end=END_OF[more], more=f"maxcpus=1 {more}")
    report = boot(*flags(kernel, cmdline, tmp_path / "qmp", "-smp", "254"))

    assert report.status == 0, report.errors
    assert report.fact("cpus_possible") == "0-253"


@pytest.mark.guidebook("2 devices")
@pytest.mark.parametrize("more", ["", "acpi=off"], ids=["acpi", "mp-table"])
def test_sixteen_disks_are_found_by_acpi_and_by_kernel_words(more: str, tmp_path: Path) -> None:
    count = 16 if not more else 11  # without ACPI a kernel knows the 11 lines of the ISA bus that are free
    disks: list[str] = []
    for number in range(count):
        image = tmp_path / f"disk{number}"
        with image.open("wb") as file:
            file.truncate((number + 1) << 20)
        disks += drive(image, name=f"disk{number}")
    script = "for disk in /dev/vd?; do dd if=$disk of=/dev/null bs=64k count=1 2>/dev/null || exit 1; done"
    cmdline = words(script, end=END_OF[more], more=more)
    report = boot(*flags(SMALL, cmdline, tmp_path / "qmp", *disks))

    sizes = sorted(
        int(line.split("bytes=")[1].split()[0]) >> 20 for line in report.facts("disk") if "vd" in line
    )
    assert sizes == list(range(1, count + 1))
    assert report.script_status == 0


DEVICES = {
    "virtio_blk": 5,
    "virtio_net": 3,
    "virtio_console": 5,
    "virtio_rng": 1,
    "virtio_balloon": 1,
    "vmw_vsock_virtio_transport": 1,
}


@pytest.mark.guidebook("2 devices")
def test_sixteen_devices_of_every_kind_are_driven_by_debians_kernel(tmp_path: Path) -> None:
    profile = tmp_path / "guest.toml"
    lines = [
        "version = 1",
        f"machine.drive_slots = {DEVICES['virtio_blk']}",
        f"machine.net_slots = {DEVICES['virtio_net']}",
        'memory.size = "512M"',
        f'boot = {{ kernel = "{CLOUD[0]}", initrd = "{CLOUD[1]}", cmdline = "{words()}" }}',
        *(f'console.c{n}.path = "console{n}"' for n in range(DEVICES["virtio_console"])),
        'vsock = { guest_cid = 3, backend = "unix", socket = "vsock" }',
        "[serial]",
        "[rng]",
        'file = "/dev/urandom"',
        "[balloon]",
    ]
    profile.write_text("\n".join(lines))
    report = boot_profile(profile)
    drivers = [line.split("driver=")[1].split()[0] for line in report.facts("virtio")]

    assert report.status == 0, report.errors
    assert sum(DEVICES.values()) == 16
    assert {name: drivers.count(name) for name in drivers} == DEVICES


def test_memory_above_4_gib_is_used(tmp_path: Path) -> None:
    script = """
dd if=/dev/zero of=/tmp/fill bs=1M count=64 2>/dev/null
sed -n 's/-.*System RAM/ ram/p' /proc/iomem
"""
    report = boot(*flags(SMALL, words(script), tmp_path / "qmp", memory="4G"))

    assert report.status == 0, report.errors
    assert "100000000 ram" in report.text
    assert int(report.fact("memory_kib")) > 3_800_000
