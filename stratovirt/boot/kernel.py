"""Kernel images: a file, its pieces and where they go, and what is none. The kinds are the architecture's."""

from __future__ import annotations

import posix

from stratovirt.errors import HostError, StratovirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_KIND_MASK, _REGULAR = 0o170000, 0o100000  # stat's S_IFMT and S_IFREG

_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"),
)

# What a wrong path names most often, by the bytes at an offset.
_NO_KERNELS = (
    (0, b"#!", "is a script"),
    (0, b"0707", "is a cpio archive, as initramfs are"),
    (0, b"QFI\xfb", "is a qcow2 image"),
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
    """How to load a kernel and enter it by one of its architecture's protocols.

    `limits` are the last address that its initrd may have, and the bytes of its command line without the NUL.
    """

    __slots__ = ("cmdline_max", "end", "entry", "initrd_max", "protocol", "segments", "setup_header")

    def __init__(
        self,
        protocol: str,
        entry: int,
        segments: tuple[Segment, ...],
        *,
        limits: tuple[int, int],
        setup_header: bytes = b"",
        end: int = 0,
    ) -> None:
        self.protocol = protocol
        self.entry = entry
        self.segments = segments
        self.setup_header = setup_header  # of a bzImage: what the zero page starts from
        # The first address that the kernel leaves free.
        self.end = max(end, *(segment.end for segment in segments))
        self.initrd_max, self.cmdline_max = limits


class KernelImage:
    """An open kernel file; `wanted` says what kinds the machine can start."""

    def __init__(self, path: str, wanted: str) -> None:
        self.path = path
        self._wanted = wanted
        try:
            # Not blocking: to open a pipe would wait for somebody who writes it.
            self.fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
        except OSError as error:
            raise HostError(
                f"open kernel {path}", error, hint="set `kernel` in [boot], or -kernel, to a file"
            ) from error
        status = posix.fstat(self.fd)
        self.size = status.st_size
        if status.st_mode & _KIND_MASK != _REGULAR:
            posix.close(self.fd)
            raise KernelError(f"kernel {path} is not a regular file", hint=f"name {wanted}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        posix.close(self.fd)

    def read(self, offset: int, size: int, what: str) -> bytes:
        """Read a header; a file that ends before is refused by name."""
        data = posix.pread(self.fd, size, offset) if 0 <= offset <= self.size else b""
        if len(data) < size:
            raise self.refuse(f"is cut off: {what} ends at byte {offset + size}, the file at {self.size}")
        return data

    def refuse(self, why: str, hint: str = "") -> KernelError:
        """Return the error that says why this file cannot be started."""
        return KernelError(f"kernel {self.path} {why}", hint=hint or f"name {self._wanted}")


def first_bytes(image: KernelImage) -> bytes:
    """Return what the file begins with; an empty or packed one is refused."""
    start = posix.pread(image.fd, 16, 0)
    if not start:
        raise image.refuse("is empty")
    for magic, name in _PACKED:
        if start.startswith(magic):
            raise image.refuse(
                f"is {name}-compressed", hint=f"unpack it first, or name the bzImage that {name} is part of"
            )
    return start


def refuse_others(image: KernelImage, start: bytes, foreign: tuple[tuple[int, bytes, str], ...]) -> None:
    """Refuse a file that is known to be something else; `foreign` are marks of other processors' kernels."""
    for offset, magic, what in (*_NO_KERNELS, *foreign):
        if posix.pread(image.fd, len(magic), offset) == magic:
            raise image.refuse(what)
    if all(byte in b"\t\n\r" or 0x20 <= byte < 0x7F for byte in start):
        raise image.refuse("is a text")
