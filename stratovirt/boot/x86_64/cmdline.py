"""The kernel command line: the user's words byte for byte, then those that announce virtio-mmio devices."""

from __future__ import annotations

from stratovirt.boot.x86_64 import layout
from stratovirt.errors import DocumentError


def build(words: str, windows: tuple[tuple[int, int], ...], limit: int) -> bytes:
    """Return the line with its terminating NUL; `limit` is the kernel's own, in bytes without the NUL."""
    announced = [f"virtio_mmio.device={layout.MMIO_SIZE}@{base:#010x}:{gsi}" for base, gsi in windows]
    own = [words] if words else []
    line = " ".join([*own, *announced]).encode("utf-8", "surrogateescape")
    if len(line) > limit:
        raise DocumentError(
            f"the kernel command line has {len(line)} bytes, this kernel takes {limit}",
            ("boot", "cmdline"),
            f"make it shorter; {len(' '.join(announced))} bytes of it announce devices",
        )
    return line + b"\0"
