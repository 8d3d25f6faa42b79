"""The MP table: processors and interrupts for kernels without ACPI (MultiProcessor Specification 1.4)."""

from __future__ import annotations

from stratovirt.boot.x86_64 import layout

SPEC_REVISION = 4
APIC_VERSION = 0x14
CPU_ENABLED, CPU_BOOTSTRAP = 1, 2
CPU_SIGNATURE, CPU_FEATURES = 0x600, 0x201
INT, NMI, EXTINT = 0, 1, 3
ISA_BUS = 0
ALL_APICS = 0xFF


def build(cpus: int) -> bytes:
    """Return the floating pointer with the table right behind it, to be placed at MP_ADDRESS."""
    entries = list(_entries(cpus))
    body = b"".join(entries)
    header = bytearray(44)
    header[0:4] = b"PCMP"
    header[4:6] = (44 + len(body)).to_bytes(2, "little")
    header[6] = SPEC_REVISION
    header[8:16] = b"STRATO  "
    header[16:28] = b"1.0         "
    header[34:36] = len(entries).to_bytes(2, "little")
    header[36:40] = layout.LAPIC_ADDRESS.to_bytes(4, "little")
    header[7] = checksum(bytes(header) + body)
    pointer = bytearray(
        b"_MP_" + (layout.MP_ADDRESS + 16).to_bytes(4, "little") + bytes([1, SPEC_REVISION]) + bytes(6)
    )
    pointer[10] = checksum(bytes(pointer))
    return bytes(pointer) + bytes(header) + body


def _entries(cpus: int) -> list[bytes]:
    # Ids of IOAPICs and of CPUs are spaces of their own since APIC 0x14.
    ioapic = cpus + 1 if cpus < 254 else 0xFE
    rows = [_processor(index) for index in range(cpus)]
    rows.append(bytes([1, ISA_BUS]) + b"ISA   ")
    rows.append(bytes([2, ioapic, APIC_VERSION, 1]) + layout.IOAPIC_ADDRESS.to_bytes(4, "little"))
    rows += [bytes([3, INT, 0, 0, ISA_BUS, pin, ioapic, pin]) for pin in range(layout.IOAPIC_PINS)]
    rows.append(bytes([4, EXTINT, 0, 0, ISA_BUS, 0, 0, 0]))
    rows.append(bytes([4, NMI, 0, 0, ISA_BUS, 0, ALL_APICS, 1]))
    return rows


def _processor(index: int) -> bytes:
    flags = CPU_ENABLED | (CPU_BOOTSTRAP if index == 0 else 0)
    words = CPU_SIGNATURE.to_bytes(4, "little") + CPU_FEATURES.to_bytes(4, "little") + bytes(8)
    return bytes([0, index, APIC_VERSION, flags]) + words


def checksum(data: bytes) -> int:
    """Return the byte that makes the sum of all bytes zero."""
    return -sum(data) & 0xFF
