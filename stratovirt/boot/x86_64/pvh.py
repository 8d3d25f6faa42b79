"""PVH: the start info that Xen's boot protocol passes in EBX (Xen's arch-x86/hvm/start_info.h)."""

from __future__ import annotations

from stratovirt.boot.x86_64 import layout

MAGIC = 0x336E_C578
VERSION = 1
HEADER_SIZE = 56
MODULE_SIZE = 32


def build(ram_size: int, initrd: tuple[int, int], rsdp: int) -> bytes:
    """Return start info, module list and memory map, to be placed at START_INFO_ADDRESS."""
    modules = b""
    if initrd[1]:
        modules = _words(8, initrd[0], initrd[1], 0, 0)
    ranges = layout.memory_map(ram_size)
    module_address = layout.START_INFO_ADDRESS + HEADER_SIZE
    map_address = module_address + len(modules)
    header = (
        _words(4, MAGIC, VERSION, 0, len(modules) // MODULE_SIZE)
        + _words(8, module_address if modules else 0, layout.CMDLINE_ADDRESS, rsdp, map_address)
        + _words(4, len(ranges), 0)
    )
    memory_map = b"".join(_words(8, address, size) + _words(4, kind, 0) for address, size, kind in ranges)
    return header + modules + memory_map


def _words(width: int, *values: int) -> bytes:
    return b"".join(value.to_bytes(width, "little") for value in values)
