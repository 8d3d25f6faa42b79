"""ACPI table headers, the XSDT and the root pointer (ACPI 6.4, 5.2)."""

from __future__ import annotations

OEM_ID = b"STRATO"
CREATOR = b"STRA" + (1).to_bytes(4, "little")
ALIGNMENT = 16


def table(signature: bytes, revision: int, table_id: bytes, body: bytes) -> bytes:
    """Return a table with its header and checksum."""
    length = 36 + len(body)
    header = signature + length.to_bytes(4, "little") + bytes([revision, 0])
    whole = bytearray(header + OEM_ID + table_id + (1).to_bytes(4, "little") + CREATOR + body)
    whole[9] = checksum(whole)
    return bytes(whole)


def xsdt(addresses: list[int]) -> bytes:
    """Return the table that lists the others."""
    return table(b"XSDT", 1, b"VIRTXSDT", b"".join(address.to_bytes(8, "little") for address in addresses))


def rsdp(xsdt_address: int) -> bytes:
    """Return the root pointer of ACPI 2.0 and later."""
    pointer = bytearray(b"RSD PTR \0" + OEM_ID + bytes([2]) + bytes(4))
    pointer += (36).to_bytes(4, "little") + xsdt_address.to_bytes(8, "little") + bytes(4)
    pointer[8] = checksum(pointer[:20])
    pointer[32] = checksum(pointer)
    return bytes(pointer)


def io_register(port: int) -> bytes:
    """Return the generic address of a one-byte port (ACPI 6.4, 5.2.3.2)."""
    return bytes([1, 8, 0, 1]) + port.to_bytes(8, "little")


def checksum(data: bytes | bytearray) -> int:
    """Return the byte that makes the sum of all bytes zero."""
    return -sum(data) & 0xFF


class Region:
    """Tables laid one behind the other from an address."""

    def __init__(self, address: int, size: int) -> None:
        self.address = address
        self.size = size
        self.content = bytearray()

    def add(self, data: bytes) -> int:
        """Place a table and return its address."""
        self.content += bytes(-len(self.content) % ALIGNMENT)
        at = self.address + len(self.content)
        self.content += data
        if len(self.content) > self.size:
            raise ValueError(f"tables need more than {self.size} bytes")
        return at
