"""The profiles that a newcomer starts from boot Linux as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.guest.linux import Report, boot_profile
from tests.guest.pools import huge_pages

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


def test_the_profile_of_a_card_boots_with_two_pairs_of_queues() -> None:
    report = boot_profile(PROFILES / "net-vhost.toml")

    assert report.status == 0, report.errors
    assert "virtio_net" in drivers(report)
