"""ELF kernels: vmlinux and other 64-bit images, entered by their PVH note when there is one.

System V ABI, chapters 4 and 5; Xen's docs/misc/pvh.pandoc.
"""

from __future__ import annotations

from stratovirt.boot.kernel import KernelPlan, Segment
from stratovirt.boot.x86_64.layout import KERNEL_LIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratovirt.boot.kernel import KernelImage

HEADER_SIZE = 64
PROGRAM_HEADER_SIZE = 56
CLASS_64, LITTLE_ENDIAN = 2, 1
MACHINES = {62: "x86_64"}
PT_LOAD, PT_INTERP, PT_NOTE = 1, 3, 4
MAX_PROGRAM_HEADERS = 64
MAX_NOTES = 1 << 16  # bytes; a vmlinux has a few hundred
NOTE_PHYS32_ENTRY = 18  # XEN_ELFNOTE_PHYS32_ENTRY
ADDRESS_LIMIT = 1 << 40
LOWEST = 1 << 20  # below it are the real mode's memory and what is made for the kernel (layout.py)


class ProgramHeader:
    """One entry of the program header table."""

    __slots__ = ("file_size", "kind", "memory_size", "offset", "physical", "virtual")

    def __init__(self, raw: bytes) -> None:
        self.kind = int.from_bytes(raw[0:4], "little")
        self.offset, self.virtual, self.physical, self.file_size, self.memory_size = (
            int.from_bytes(raw[at : at + 8], "little") for at in (8, 16, 24, 32, 40)
        )


def plan(image: KernelImage) -> KernelPlan:
    """Return the plan of an ELF image."""
    header = image.read(0, HEADER_SIZE, "the ELF header")
    if header[4] != CLASS_64 or header[5] != LITTLE_ENDIAN:
        raise image.refuse("is not a 64-bit little-endian ELF file")
    machine = int.from_bytes(header[18:20], "little")
    if machine not in MACHINES:
        raise image.refuse(f"is an ELF file for another processor (machine {machine})")
    headers = list(_program_headers(image, header))
    loads = [_checked(image, entry) for entry in headers if entry.kind == PT_LOAD and entry.memory_size]
    if not loads:
        raise image.refuse(
            "is an ELF file with nothing to load", hint="name the linked vmlinux, not an object file"
        )
    segments = tuple(Segment(e.offset, e.physical, e.file_size, e.memory_size) for e in loads)
    for entry in headers:
        if entry.kind == PT_NOTE:
            pvh = _pvh_entry(image, entry)
            if pvh:
                return KernelPlan("pvh", pvh, segments, limits=KERNEL_LIMITS)
    if any(entry.kind == PT_INTERP for entry in headers):  # FreeBSD's kernel has one, and a note before
        raise image.refuse("is a program for an operating system, not a kernel")
    entry_64 = _physical(int.from_bytes(header[24:32], "little"), loads)
    return KernelPlan("linux64", entry_64, segments, limits=KERNEL_LIMITS)


def _program_headers(image: KernelImage, header: bytes) -> Iterator[ProgramHeader]:
    offset = int.from_bytes(header[32:40], "little")
    size = int.from_bytes(header[54:56], "little")
    count = int.from_bytes(header[56:58], "little")
    if size != PROGRAM_HEADER_SIZE or count > MAX_PROGRAM_HEADERS:
        raise image.refuse(f"has {count} program headers of {size} bytes, which no kernel has")
    table = image.read(offset, size * count, "the program header table")
    for at in range(0, len(table), size):
        yield ProgramHeader(table[at : at + size])


def _checked(image: KernelImage, entry: ProgramHeader) -> ProgramHeader:
    if entry.file_size > entry.memory_size:
        raise image.refuse("has a segment that is larger in the file than in memory")
    if entry.offset + entry.file_size > image.size:
        raise image.refuse(
            f"is cut off: a segment ends at byte {entry.offset + entry.file_size}, the file at {image.size}"
        )
    if entry.physical < LOWEST:
        raise image.refuse(
            f"wants to be loaded at {entry.physical:#x}, where the boot tables are",
            hint="name a vmlinux: a kernel is at 1M or above, and a library is none",
        )
    if entry.physical + entry.memory_size > ADDRESS_LIMIT:
        raise image.refuse(f"wants to be loaded at {entry.physical:#x}, where no guest has memory")
    return entry


def _physical(entry: int, loads: list[ProgramHeader]) -> int:
    """Return the physical address of the entry, which a vmlinux gives as physical or as virtual."""
    for segment in loads:
        if segment.virtual <= entry < segment.virtual + segment.memory_size:
            return entry - segment.virtual + segment.physical
    return entry


def _pvh_entry(image: KernelImage, entry: ProgramHeader) -> int:
    if entry.file_size > MAX_NOTES:
        return 0
    notes = image.read(entry.offset, entry.file_size, "the notes")
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = (int.from_bytes(notes[i : i + 4], "little") for i in (at, at + 4, at + 8))
        name = at + 12
        data = name + (name_size + 3) // 4 * 4
        if kind == NOTE_PHYS32_ENTRY and notes[name : name + name_size] == b"Xen\0" and size in {4, 8}:
            return int.from_bytes(notes[data : data + 4], "little")
        at = data + (size + 3) // 4 * 4
    return 0
