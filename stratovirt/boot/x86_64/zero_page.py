"""The zero page: what Linux's 64-bit boot protocol passes in RSI (Documentation/arch/x86/zero-page.rst)."""

from __future__ import annotations

from stratovirt.boot.x86_64 import layout
from stratovirt.boot.x86_64.bzimage import HEADER_OFFSET

SIZE = 4096
ACPI_RSDP = 0x070
E820_COUNT = 0x1E8
E820_TABLE = 0x2D0
BOOT_FLAG = 0x1FE
MAGIC = 0x202
TYPE_OF_LOADER = 0x210
RAMDISK_IMAGE = 0x218
RAMDISK_SIZE = 0x21C
CMD_LINE_PTR = 0x228
CMDLINE_SIZE = 0x238
LOADER_UNDEFINED = 0xFF


def build(setup_header: bytes, ram_size: int, cmdline_size: int, initrd: tuple[int, int], rsdp: int) -> bytes:
    """Return the page; `initrd` is address and size, `setup_header` a bzImage's own or empty."""
    page = bytearray(SIZE)
    if setup_header:
        page[HEADER_OFFSET : HEADER_OFFSET + len(setup_header)] = setup_header
    else:
        page[BOOT_FLAG : BOOT_FLAG + 2] = b"\x55\xaa"
        page[MAGIC : MAGIC + 4] = b"HdrS"
    page[TYPE_OF_LOADER] = LOADER_UNDEFINED
    _put(page, ACPI_RSDP, rsdp, 8)
    _put(page, CMD_LINE_PTR, layout.CMDLINE_ADDRESS, 4)
    _put(page, CMDLINE_SIZE, cmdline_size, 4)
    _put(page, RAMDISK_IMAGE, initrd[0], 4)
    _put(page, RAMDISK_SIZE, initrd[1], 4)
    ranges = layout.memory_map(ram_size)
    page[E820_COUNT] = len(ranges)
    at = E820_TABLE
    for address, size, kind in ranges:
        _put(page, at, address, 8)
        _put(page, at + 8, size, 8)
        _put(page, at + 16, kind, 4)
        at += 20
    return bytes(page)


def _put(page: bytearray, offset: int, value: int, size: int) -> None:
    page[offset : offset + size] = value.to_bytes(size, "little")
