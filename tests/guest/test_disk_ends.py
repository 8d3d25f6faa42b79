"""A machine that ends in the middle of writes: what the guest saw done is on the disk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.guest.machines import (
    RECORD_SECTORS,
    SECTOR,
    acknowledged,
    ask_to_quit,
    disk,
    empty_image,
    lost_records,
    obeying,
    started,
)  # fmt: skip
from tests.guest.shims import ENGINES, DiskFaults

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kvm

IN_FLIGHT = 32  # of flood.c


@ENGINES
def test_quit_while_the_disk_is_busy_ends_at_once_and_every_completed_write_is_there(
    no_uring: int, tmp_path: Path
) -> None:
    image = empty_image(tmp_path / "disk")
    faults = DiskFaults(tmp_path, no_uring=no_uring)
    with started("records", tmp_path, *disk(image), env=faults.variables) as vmm:
        vmm.read_until(b"ack 0000000000000020\n")
        begun = time.monotonic()
        ask_to_quit(vmm, tmp_path)
        status, output, errors = vmm.finish()
        took = time.monotonic() - begun
    number = acknowledged(output)

    assert (status, errors) == (0, "")
    assert number >= 0x20
    assert lost_records(image, number) == []
    assert took < 5


@ENGINES
@pytest.mark.parametrize("direct", [False, True], ids=["page cache", "O_DIRECT"])
def test_quit_with_many_writes_in_flight_loses_none_that_was_done(
    direct: bool,  # noqa: FBT001
    no_uring: int,
    tmp_path: Path,
) -> None:
    image = empty_image(tmp_path / "disk")
    faults = DiskFaults(tmp_path, no_uring=no_uring)
    with started("flood", tmp_path, *disk(image, direct=direct), env=faults.variables) as vmm:
        while vmm.output.count(b"\n") < IN_FLIGHT * 4:
            vmm.read_more("too few writes are done")
        ask_to_quit(vmm, tmp_path)
        status, output, errors = vmm.finish()
    numbers = [int(line.split()[1], 16) for line in output[: output.rfind(b"\n")].splitlines()]

    assert (status, errors) == (0, "")
    assert len(numbers) >= IN_FLIGHT * 4
    assert b"fail" not in output
    assert [number for number in numbers if not holds(image, number)] == []


def holds(image: Path, number: int) -> bool:
    """Tell whether a record, or a later one at its place, is on the disk, and whole."""
    sector = image.read_bytes()[number % RECORD_SECTORS * SECTOR :][:SECTOR]
    found = int.from_bytes(sector[:8], "little")
    return sector == sector[:8] * (SECTOR // 8) and found >= number and (found - number) % RECORD_SECTORS == 0


@pytest.mark.parametrize("after", [1, 7, 40, 150])
def test_what_the_guest_saw_flushed_survives_a_kill(after: int, tmp_path: Path) -> None:
    image = empty_image(tmp_path / "disk")
    with started("records", tmp_path, *disk(image)) as vmm:
        vmm.read_until(b"ack %016x\n" % after)
        vmm.process.kill()
        output = vmm.finish()[1]

    number = acknowledged(output)
    assert number >= after
    assert lost_records(image, number) == []
    with obeying(tmp_path, *disk(image)) as next_one:  # no manual step: socket and lock are free
        assert next_one.ask(f"r {after:x}") == after
