"""bzImage: Linux's own boot protocol for x86 (Documentation/arch/x86/boot.rst)."""

from __future__ import annotations

import posix

from stratovirt.boot.kernel import KernelPlan, Segment
from stratovirt.boot.x86_64.layout import INITRD_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.boot.kernel import KernelImage

HEADER_OFFSET = 0x1F1
MAGIC_OFFSET = 0x202
MAGIC = b"HdrS"
VERSION_MIN = 0x202
LOADED_HIGH = 0x01
XLF_KERNEL_64 = 0x01
ENTRY_64 = 0x200  # from the start of the protected-mode code
SECTOR = 512


def is_bzimage(image: KernelImage) -> bool:
    """Tell whether a file carries the setup header of a kernel that is loaded high."""
    header = posix.pread(image.fd, 0x280, 0)
    return (
        header[MAGIC_OFFSET : MAGIC_OFFSET + 4] == MAGIC
        and _number(header, 0x206, 2) >= VERSION_MIN
        and bool(_number(header, 0x211, 1) & LOADED_HIGH)
    )


def plan(image: KernelImage) -> KernelPlan:
    """Return the plan of a bzImage, entered at its 64-bit entry."""
    header = image.read(0, 0x280, "the setup header")
    version = _number(header, 0x206, 2)
    setup = ((_number(header, HEADER_OFFSET, 1) or 4) + 1) * SECTOR
    wanted = setup + _number(header, 0x1F4, 4) * 16
    if image.size <= setup or (version >= 0x20C and image.size < wanted):
        raise image.refuse(
            f"is cut off: its header speaks of {max(wanted, setup)} bytes, the file has {image.size}"
        )
    if version >= 0x20C and not _number(header, 0x236, 2) & XLF_KERNEL_64:
        raise image.refuse("has no 64-bit entry", hint="use a kernel built for x86_64")
    load = _number(header, 0x214, 4)  # code32_start
    body = image.size - setup
    init_size = _number(header, 0x260, 4) if version >= 0x20A else body
    end_of_header = 0x202 + header[0x201]  # the jump over the header tells its length
    return KernelPlan(
        "linux64",
        load + ENTRY_64,
        (Segment(setup, load, body, body),),
        setup_header=header[HEADER_OFFSET : min(end_of_header, 0x280)],
        # A relocatable kernel unpacks itself where it prefers or where it was loaded, whichever is higher.
        end=max(load, _number(header, 0x258, 8) if version >= 0x20A else 0) + init_size,
        limits=(
            min(_number(header, 0x22C, 4), INITRD_MAX) if version >= 0x203 else INITRD_MAX,
            _number(header, 0x238, 4) if version >= 0x206 else 255,
        ),
    )


def _number(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")
