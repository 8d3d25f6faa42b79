"""Tiny machines: one that obeys (tests/guest/tiny/obey.c), one that writes records to a disk (records.c)."""

from __future__ import annotations

import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

from tests.guest import tiny
from tests.guest.vmm import Qmp, Vmm

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

TIMEOUT_S = 60  # a rig on a loaded host is slow
MIB = 1 << 20
SECTOR = 512
RECORD_SECTORS = 2048  # of records.c


def empty_image(path: Path, size: int = MIB) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def disk(image: Path | str, *, direct: bool = False) -> list[str]:
    word = "on" if direct else "off"
    return ["-drive", f"id=d,file={image},direct={word}", "-device", "virtio-blk-device,drive=d"]


def started(guest: str, folder: Path, *more: str | Path, **options: Any) -> Vmm:
    """Start a tiny guest; its serial port is a pipe, its QMP socket `folder/qmp`."""
    words = ["-kernel", tiny.build(guest), "-serial", "stdio", "-qmp", f"unix:{folder / 'qmp'}", *more]
    return Vmm(*words, stdin=subprocess.PIPE, **{"timeout": TIMEOUT_S, **options})


def obeying(folder: Path, *more: str | Path, **options: Any) -> Vmm:
    """Start a guest that does what Vmm.ask() says."""
    vmm = started("obey", folder, *more, **options)
    vmm.read_until(b"obeys\n")
    return vmm


def acknowledged(output: bytes) -> int:
    """Return the number of the last record that the guest saw flushed; only whole lines count."""
    whole = output[: output.rfind(b"\n") + 1].splitlines()
    numbers = [int(line.split()[1], 16) for line in whole if line.startswith(b"ack ")]
    assert numbers == list(range(1, len(numbers) + 1))
    return len(numbers)


def lost_records(image: Path, number: int) -> list[int]:
    """Return which of the records 1 to `number` the image should have and has not."""
    data = image.read_bytes()
    lost = []
    for record in range(max(1, number - RECORD_SECTORS + 2), number + 1):
        at = record % RECORD_SECTORS * SECTOR
        sector = data[at : at + SECTOR]
        if sector != record.to_bytes(8, "little") * (SECTOR // 8):
            later = int.from_bytes(sector[:8], "little")
            if later != record + RECORD_SECTORS:  # begun, and not acknowledged
                lost.append(record)
    return lost


def ask_to_quit(vmm: Vmm, folder: Path) -> None:
    """End a machine by QMP."""
    with closing(Qmp(folder / "qmp", vmm.deadline)) as qmp:
        qmp.call("quit")
