"""The lock of an image against a second writer."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.guest.disks import MIB, disk_flags, drive_profile, image_of, spinning
from tests.guest.linux import TIMEOUT_S
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kvm


@pytest.mark.parametrize(("first", "second"), [("off", "off"), ("off", "on"), ("on", "off")])
def test_an_image_that_somebody_writes_is_refused_and_its_holder_named(
    first: str, second: str, tmp_path: Path
) -> None:
    image = image_of(tmp_path, MIB)
    with spinning(tmp_path, *disk_flags(image, more=f",readonly={first}")) as holder:
        holder.read_until(b"spinning\n")
        with spinning(tmp_path, *disk_flags(image, more=f",readonly={second}"), name="other") as other:
            status, output, errors = other.finish()

    assert (status, output) == (1, b"")
    assert f"{image} is in use by process {holder.process.pid} (" in errors
    assert "hint: " in errors


def test_readers_share_an_image(tmp_path: Path) -> None:
    image = image_of(tmp_path, MIB)
    with spinning(tmp_path, *disk_flags(image, more=",readonly=on")) as first:
        first.read_until(b"spinning\n")
        with spinning(tmp_path, *disk_flags(image, more=",readonly=on"), name="other") as second:
            second.read_until(b"spinning\n")


def test_an_image_is_free_when_its_machine_was_killed(tmp_path: Path) -> None:
    image = image_of(tmp_path, MIB)
    with spinning(tmp_path, *disk_flags(image)) as first:
        first.read_until(b"spinning\n")
        first.process.kill()
        first.process.wait()
    (tmp_path / "qmp").unlink(missing_ok=True)
    with spinning(tmp_path, *disk_flags(image)) as second:
        second.read_until(b"spinning\n")


def test_a_lock_can_be_left_out(tmp_path: Path) -> None:
    image = image_of(tmp_path, MIB)
    with spinning(tmp_path, *disk_flags(image)) as holder:
        holder.read_until(b"spinning\n")
        with Vmm("run", drive_profile(tmp_path, f'file = "{image}"\nlock = "off"')) as other:
            other.read_until(b"spinning\n")


def qemu_with(image: Path, socket: Path) -> list[str]:
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-M", "microvm",
        "-accel", "tcg", "-S", "-qmp", f"unix:{socket},server=on,wait=off",
        "-drive", f"if=none,id=d,format=raw,file={image}", "-device", "virtio-blk-device,drive=d",
    ]  # fmt: skip


def test_qemu_and_we_keep_off_each_others_image(tmp_path: Path) -> None:
    ours, qemus = image_of(tmp_path, MIB, "ours"), image_of(tmp_path, MIB, "qemus")
    with spinning(tmp_path, *disk_flags(ours)) as holder:
        holder.read_until(b"spinning\n")
        refused = subprocess.run(
            qemu_with(ours, tmp_path / "qemu"), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    assert refused.returncode == 1
    assert f"{ours}: Failed to lock byte" in refused.stderr

    with subprocess.Popen(qemu_with(qemus, tmp_path / "qemu")) as qemu:
        try:
            Qmp(tmp_path / "qemu", time.monotonic() + TIMEOUT_S).close()
            with spinning(tmp_path, *disk_flags(qemus)) as other:
                status, _, errors = other.finish()
        finally:
            qemu.kill()
    assert (status, f"{qemus} is in use by process {qemu.pid} (qemu-system" in errors) == (1, True), errors
