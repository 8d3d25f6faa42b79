"""AML terms as bytes (ACPI 6.4, chapter 20). Every function returns the encoding of one term."""

from __future__ import annotations

_SCOPE, _NAME, _BUFFER, _PACKAGE, _DEVICE = b"\x10", b"\x08", b"\x11", b"\x12", b"\x5b\x82"


def scope(name: str, *terms: bytes) -> bytes:
    """Open a namespace that exists."""
    return _SCOPE + _sized(_path(name) + b"".join(terms))


def device(name: str, *terms: bytes) -> bytes:
    """Define a device."""
    return _DEVICE + _sized(_path(name) + b"".join(terms))


def name(path: str, value: bytes) -> bytes:
    """Name a value."""
    return _NAME + _path(path) + value


def integer(value: int) -> bytes:
    """Encode a whole number in its shortest form."""
    if value in {0, 1}:
        return bytes([value])
    for prefix, size in ((b"\x0a", 1), (b"\x0b", 2), (b"\x0c", 4), (b"\x0e", 8)):
        if value < 1 << (8 * size):
            return prefix + value.to_bytes(size, "little")
    raise ValueError(f"{value:#x} does not fit in 64 bits")


def string(value: str) -> bytes:
    """Encode an ASCII string."""
    return b"\x0d" + value.encode("ascii") + b"\0"


def eisa_id(value: str) -> bytes:
    """Encode an id like PNP0501 as the 32-bit number that _HID takes (ACPI 6.4, 19.3.4)."""
    letters = [ord(letter) - 0x40 for letter in value[:3]]
    number = letters[0] << 26 | letters[1] << 21 | letters[2] << 16 | int(value[3:], 16)
    return integer(int.from_bytes(number.to_bytes(4, "big"), "little"))


def package(*values: bytes) -> bytes:
    """Encode a list of values."""
    return _PACKAGE + _sized(bytes([len(values)]) + b"".join(values))


def resources(*descriptors: bytes) -> bytes:
    """Encode a _CRS buffer; the end tag with its zero checksum is added (ACPI 6.4, 6.4.2.9)."""
    content = b"".join(descriptors) + b"\x79\x00"
    return _BUFFER + _sized(integer(len(content)) + content)


def memory32_fixed(base: int, size: int) -> bytes:
    """Describe a writable range of memory (ACPI 6.4, 6.4.3.4)."""
    return b"\x86\x09\x00\x01" + base.to_bytes(4, "little") + size.to_bytes(4, "little")


def io_port(base: int, size: int) -> bytes:
    """Describe a fixed range of ports, decoded in 16 bits (ACPI 6.4, 6.4.2.5)."""
    return b"\x47\x01" + base.to_bytes(2, "little") * 2 + bytes([1, size])


def interrupt(gsi: int) -> bytes:
    """Describe an exclusive, edge-triggered, active-high interrupt of a device (ACPI 6.4, 6.4.3.6)."""
    return b"\x89\x06\x00\x03\x01" + gsi.to_bytes(4, "little")


def _path(path: str) -> bytes:
    root, segments = (b"\\", path[1:]) if path.startswith("\\") else (b"", path)
    return root + segments.ljust(4, "_").encode("ascii")


def _sized(content: bytes) -> bytes:
    """Put the package length before its content; it counts itself (ACPI 6.4, 20.2.4)."""
    if len(content) + 1 < 0x40:
        return bytes([len(content) + 1]) + content
    for extra in (1, 2, 3):
        total = len(content) + 1 + extra
        if total < 1 << (4 + 8 * extra):
            return bytes([extra << 6 | total & 0xF]) + (total >> 4).to_bytes(extra, "little") + content
    raise ValueError(f"a package of {len(content)} bytes is too long")
