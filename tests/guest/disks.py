"""Machines with a disk: its image, its flags, its profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.guest import tiny
from tests.guest.vmm import Vmm

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
READ = "dd if=/dev/vda of=/dev/null iflag=direct"  # what a guest does
WRITE = "dd if=/dev/zero of=/dev/vda oflag=direct conv=notrunc"


def image_of(folder: Path, size: int, name: str = "disk") -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
    return path


def disk_flags(image: Path, *, more: str = "", device: str = "") -> list[str]:
    return ["-drive", f"id=d,file={image},direct=off{more}", "-device", f"virtio-blk-device,drive=d{device}"]


def spinning(folder: Path, *more: str, name: str = "qmp") -> Vmm:
    return Vmm("-kernel", tiny.build("spin"), "-serial", "stdio", "-qmp", f"unix:{folder / name}", *more)


def drive_profile(folder: Path, drive: str, more: str = "", guest: str = "spin") -> Path:
    path = folder / "vm.toml"
    path.write_text(
        f'version = 1\n[boot]\nkernel = "{tiny.build(guest)}"\n[serial]\n[drive.d]\ndirect = false\n'
        f"{drive}\n{more}\n",
        encoding="utf-8",
    )
    return path
