"""Kernel images: what kind a file is, and which pieces of it go where. Only headers are read here."""

from __future__ import annotations

import os

from stratovirt.errors import HostError, StratovirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

FLAT_ADDRESS = 0x100_0000  # where the original loads what is neither bzImage nor ELF
INITRD_MAX = 0x37FF_FFFF  # the highest address that every x86 kernel accepts, as the original uses it
CMDLINE_MAX = 2047  # COMMAND_LINE_SIZE of x86, less the terminating NUL
_KIND_MASK, _REGULAR = 0o170000, 0o100000  # stat's S_IFMT and S_IFREG

_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"),
)

# What a wrong path names most often, by the bytes at an offset; a file without a known magic is a flat image.
_NO_KERNELS = (
    (0, b"#!", "is a script"),
    (0, b"0707", "is a cpio archive, as initramfs are"),
    (0, b"QFI\xfb", "is a qcow2 image"),
    (0x38, b"ARM\x64", "is for another processor: aarch64"),
    (0x101, b"ustar", "is a tar archive"),
    (0x1FE, b"\x55\xaa", "begins like a disk, with a boot sector"),
    (0x438, b"\x53\xef", "is an ext file system"),
)


class KernelError(StratovirtError):
    """The file is not a kernel that can be started."""


class Segment:
    """A piece of the file and where it goes; memory beyond the file's part is zero."""

    __slots__ = ("address", "file_offset", "file_size", "memory_size")

    def __init__(self, file_offset: int, address: int, file_size: int, memory_size: int) -> None:
        self.file_offset = file_offset
        self.address = address
        self.file_size = file_size
        self.memory_size = memory_size

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.memory_size


class KernelPlan:
    """How to load a kernel and enter it: `protocol` is linux64, pvh or flat."""

    __slots__ = ("cmdline_max", "end", "entry", "initrd_max", "protocol", "segments", "setup_header")

    def __init__(
        self,
        protocol: str,
        entry: int,
        segments: tuple[Segment, ...],
        *,
        setup_header: bytes = b"",
        end: int = 0,
        limits: tuple[int, int] = (INITRD_MAX, CMDLINE_MAX),
    ) -> None:
        self.protocol = protocol
        self.entry = entry
        self.segments = segments
        self.setup_header = setup_header  # of a bzImage: what the zero page starts from
        # The first address that the kernel leaves free.
        self.end = max(end, *(segment.end for segment in segments))
        self.initrd_max, self.cmdline_max = limits


class KernelImage:
    """An open kernel file."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise HostError(
                f"open kernel {path}", error, hint="set `kernel` in [boot], or -kernel, to a file"
            ) from error
        status = os.fstat(self.fd)
        self.size = status.st_size
        if status.st_mode & _KIND_MASK != _REGULAR:
            os.close(self.fd)
            raise KernelError(f"kernel {path} is not a regular file", hint="name a bzImage or an ELF vmlinux")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def read(self, offset: int, size: int, what: str) -> bytes:
        """Read a header; a file that ends before is refused by name."""
        data = os.pread(self.fd, size, offset) if 0 <= offset <= self.size else b""
        if len(data) < size:
            raise self.refuse(f"is cut off: {what} ends at byte {offset + size}, the file at {self.size}")
        return data

    def refuse(self, why: str, hint: str = "name a bzImage or an ELF vmlinux for x86_64") -> KernelError:
        """Return the error that says why this file cannot be started."""
        return KernelError(f"kernel {self.path} {why}", hint=hint)


def plan_kernel(image: KernelImage) -> KernelPlan:
    """Tell how to start a kernel file; KernelError when it cannot be one."""
    from stratovirt.boot import bzimage, elf

    start = os.pread(image.fd, 16, 0)
    if not start:
        raise image.refuse("is empty")
    for magic, name in _PACKED:
        if start.startswith(magic):
            raise image.refuse(
                f"is {name}-compressed", hint=f"unpack it first, or name the bzImage that {name} is part of"
            )
    if start.startswith(elf.MAGIC):
        return elf.plan(image)
    if bzimage.is_bzimage(image):
        return bzimage.plan(image)
    for offset, magic, what in _NO_KERNELS:
        if os.pread(image.fd, len(magic), offset) == magic:
            raise image.refuse(what)
    if all(byte in b"\t\n\r" or 0x20 <= byte < 0x7F for byte in start):
        raise image.refuse("is a text")
    segment = Segment(0, FLAT_ADDRESS, image.size, image.size)
    return KernelPlan("flat", FLAT_ADDRESS, (segment,))
