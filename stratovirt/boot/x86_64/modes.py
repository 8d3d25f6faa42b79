"""Descriptor tables that a guest finds, and page tables when it is entered in 64-bit mode."""

from __future__ import annotations

from stratovirt.boot.x86_64 import layout

# Null, null, code at selector 0x10, data at 0x18, as Linux's 64-bit boot protocol wants them.
GDT = b"".join(entry.to_bytes(8, "little") for entry in (0, 0, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF))

PRESENT_WRITABLE = 0x3
LARGE_PAGE = 0x83  # present, writable, 2 MiB (Intel SDM 3A, 4.5)
TABLE_PAGES = 4


def identity_map() -> list[tuple[int, bytes]]:
    """Return page tables that map the first 4 GiB to themselves, device windows included."""
    directories = [layout.PD_ADDRESS + index * 0x1000 for index in range(TABLE_PAGES)]
    pointers = b"".join((address | PRESENT_WRITABLE).to_bytes(8, "little") for address in directories)
    return [
        (layout.PML4_ADDRESS, (layout.PDPT_ADDRESS | PRESENT_WRITABLE).to_bytes(8, "little")),
        (layout.PDPT_ADDRESS, pointers),
        (layout.PD_ADDRESS, _directories()),
    ]


def _directories() -> bytes:
    table = bytearray(512 * TABLE_PAGES * 8)
    entries = memoryview(table).cast("Q")  # x86 is little-endian, and so is who builds its machines
    for page in range(512 * TABLE_PAGES):
        entries[page] = page << 21 | LARGE_PAGE
    return bytes(table)


def descriptors() -> list[tuple[int, bytes]]:
    """Return the segment descriptors and an empty interrupt table."""
    return [(layout.GDT_ADDRESS, GDT), (layout.IDT_ADDRESS, bytes(layout.IDT_LIMIT + 1))]
