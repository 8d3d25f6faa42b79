"""Boot plans: memory maps, MP table, zero page, PVH start info, command line, initrd."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pytest

from stratovirt.boot.kernel import KernelPlan, Segment
from stratovirt.boot.x86_64 import layout, mptable
from stratovirt.boot.x86_64.plan import BootInput, plan
from stratovirt.errors import DocumentError

MIB, GIB = 1 << 20, 1 << 30
KERNEL = KernelPlan(
    "linux64",
    0x100200,
    (Segment(1024, 0x100000, 5 * MIB, 5 * MIB),),
    end=32 * MIB,
    limits=layout.KERNEL_LIMITS,
)
PVH = KernelPlan("pvh", 0x1000370, (Segment(4096, 0x1000000, 5 * MIB, 6 * MIB),), limits=layout.KERNEL_LIMITS)


def boot(**changes: Any) -> Any:
    values = {"ram_size": 256 * MIB, "cpus": 1, "cmdline": "console=ttyS0", "kernel": KERNEL, "serial": True}
    return plan(BootInput(**{**values, **changes}))


def written(result: Any, address: int, size: int) -> bytes:
    for start, data in result.writes:
        if start <= address and address + size <= start + len(data):
            return bytes(data[address - start : address - start + size])
    raise AssertionError(f"nothing at {address:#x}")


def e820(result: Any) -> list[tuple[int, int, int]]:
    page = written(result, layout.ZERO_PAGE_ADDRESS, 4096)
    return [struct.unpack_from("<QQI", page, 0x2D0 + 20 * index) for index in range(page[0x1E8])]


@pytest.mark.parametrize(
    ("size", "high"),
    [(256 * MIB, None), (3 * GIB, None), (3 * GIB + MIB, MIB), (4 * GIB, GIB), (512 * GIB, 509 * GIB)],
)
def test_the_memory_map_holds_exactly_the_memory(size: int, high: int | None) -> None:
    ranges = e820(boot(ram_size=size))
    ram = [(start, length) for start, length, kind in ranges if kind == 1]
    reserved = sum(length for start, length, kind in ranges if kind == 2)

    assert sum(length for _, length in ram) + reserved == size
    assert all(start + length <= layout.RAM_GAP_START or start >= 4 * GIB for start, length in ram)
    assert [length for start, length in ram if start == 4 * GIB] == ([high] if high else [])


def test_nothing_that_is_written_overlaps_or_lies_outside_low_memory() -> None:
    spans = sorted(
        (start, start + len(data)) for start, data in boot(cpus=254, slots=layout.MMIO_WINDOWS).writes
    )

    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert spans[-1][1] <= layout.HIGH_RAM_START


def test_the_zero_page_points_at_everything() -> None:
    result = boot(initrd_size=3 * MIB + 5)
    page = written(result, layout.ZERO_PAGE_ADDRESS, 4096)
    image, size = struct.unpack_from("<II", page, 0x218)

    assert struct.unpack_from("<I", page, 0x228) == (layout.CMDLINE_ADDRESS,)
    assert struct.unpack_from("<Q", page, 0x70) == (layout.ACPI_ADDRESS,)
    assert (image, size) == (result.initrd_address, 3 * MIB + 5)
    assert image % 4096 == 0
    assert 256 * MIB - 4096 < image + size <= 256 * MIB


def test_pvh_start_info_lists_memory_initrd_and_command_line() -> None:
    result = boot(kernel=PVH, initrd_size=MIB)
    magic, version, _, modules = struct.unpack("<IIII", written(result, result.info_address, 16))
    module_list, cmdline, rsdp, memory_map = struct.unpack(
        "<QQQQ", written(result, result.info_address + 16, 32)
    )
    (entries,) = struct.unpack("<I", written(result, result.info_address + 48, 4))

    assert (magic, version, modules) == (0x336EC578, 1, 1)
    assert struct.unpack("<QQ", written(result, module_list, 16)) == (result.initrd_address, MIB)
    assert (cmdline, rsdp, entries) == (layout.CMDLINE_ADDRESS, layout.ACPI_ADDRESS, 3)
    assert struct.unpack("<QQI", written(result, memory_map, 20)) == (0, layout.LOW_RAM_END, 1)


def test_a_device_has_a_line_of_its_own_and_a_guest_without_acpi_knows_eleven() -> None:
    fixed = {0, 1, 2, layout.SERIAL_IRQ, 8}  # timer, keyboard, the second PIC, serial port, clock

    assert len(set(layout.MMIO_GSIS)) == 16
    assert not fixed & set(layout.MMIO_GSIS)
    assert sum(gsi < 16 for gsi in layout.MMIO_GSIS) == 11
    assert all(gsi < 16 for gsi in layout.MMIO_GSIS[:11])
    assert max(layout.MMIO_GSIS) < layout.IOAPIC_PINS


def test_the_command_line_keeps_every_byte_and_announces_devices() -> None:
    words = "root=UUID=a=b  two  spaces"
    result = boot(cmdline=words, slots=layout.MMIO_WINDOWS[:2])
    line = f"{words} virtio_mmio.device=512@0xf0100000:5 virtio_mmio.device=512@0xf0100200:6\0"

    assert written(result, layout.CMDLINE_ADDRESS, len(line)) == line.encode()


def test_a_command_line_over_the_kernels_own_limit_is_refused_with_numbers() -> None:
    with pytest.raises(DocumentError, match="2100 bytes, this kernel takes 2047"):
        boot(cmdline="x" * 2100)


def test_an_initrd_that_would_meet_the_kernel_is_refused_with_numbers() -> None:
    with pytest.raises(DocumentError, match=f"initrd big has {225 * MIB} bytes"):
        boot(initrd_size=225 * MIB, initrd_path="big")


def test_a_kernel_beyond_memory_is_refused() -> None:
    with pytest.raises(DocumentError, match="guest memory below"):
        boot(
            kernel=KernelPlan(
                "linux64", 0, (Segment(0, 255 * MIB, MIB, 2 * MIB),), limits=layout.KERNEL_LIMITS
            )
        )


def entries_of(table: bytes) -> dict[int, list[bytes]]:
    sizes = {0: 20, 1: 8, 2: 8, 3: 8, 4: 8}
    found: dict[int, list[bytes]] = {kind: [] for kind in sizes}
    at = 44
    while at < len(table):
        kind = table[at]
        found[kind].append(table[at : at + sizes[kind]])
        at += sizes[kind]
    return found


@pytest.mark.parametrize("cpus", [1, 2, 128, 254])
def test_the_mp_table_counts_what_it_lists(cpus: int) -> None:
    data = mptable.build(cpus)
    pointer, table = data[:16], data[16:]
    entries = entries_of(table)

    assert pointer[:4] == b"_MP_"
    assert sum(pointer) & 0xFF == 0
    assert int.from_bytes(pointer[4:8], "little") == layout.MP_ADDRESS + 16
    assert table[:4] == b"PCMP"
    assert int.from_bytes(table[4:6], "little") == len(table)
    assert sum(table) & 0xFF == 0
    assert int.from_bytes(table[34:36], "little") == sum(len(rows) for rows in entries.values())
    assert [row[1] for row in entries[0]] == list(range(cpus))
    assert [row[3] & 2 for row in entries[0]].count(2) == 1
    assert [row[7] for row in entries[3]] == list(range(24))
    assert len(data) <= layout.MP_END - layout.MP_ADDRESS
