"""ACPI tables of the x86_64 microvm: hardware-reduced, with every device described (ACPI 6.4)."""

from __future__ import annotations

from stratovirt.boot.acpi import aml, tables
from stratovirt.boot.x86_64 import layout

RSDP_SIZE = 36

# FADT fixed feature flags, ACPI 6.4, table 5.10
WBINVD = 1 << 0
NO_POWER_BUTTON = 1 << 4
NO_SLEEP_BUTTON = 1 << 5
RESET_REG_SUP = 1 << 10
HW_REDUCED_ACPI = 1 << 20
# IA-PC boot architecture flags, table 5.11; a clear bit 1 says that there is no 8042
VGA_NOT_PRESENT = 1 << 2
CMOS_RTC_NOT_PRESENT = 1 << 5

FADT_SIZE = 276
FADT_MINOR = 3


def build(cpus: int, windows: tuple[tuple[int, int], ...], *, serial: bool) -> tuple[int, bytes]:
    """Return the address of the root pointer and all tables, to be placed at ACPI_ADDRESS."""
    region = tables.Region(layout.ACPI_ADDRESS, layout.ACPI_END - layout.ACPI_ADDRESS)
    root = region.add(bytes(RSDP_SIZE))
    dsdt = region.add(tables.table(b"DSDT", 2, b"VIRTDSDT", _definitions(cpus, windows, serial=serial)))
    listed = [region.add(_fadt(dsdt)), region.add(_madt(cpus))]
    region.content[0:RSDP_SIZE] = tables.rsdp(region.add(tables.xsdt(listed)))
    return root, bytes(region.content)


def _fadt(dsdt: int) -> bytes:
    fadt = bytearray(FADT_SIZE)
    _put(fadt, 40, dsdt, 4)
    _put(fadt, 109, VGA_NOT_PRESENT | CMOS_RTC_NOT_PRESENT, 2)
    flags = WBINVD | NO_POWER_BUTTON | NO_SLEEP_BUTTON | RESET_REG_SUP | HW_REDUCED_ACPI
    _put(fadt, 112, flags, 4)
    fadt[116:128] = tables.io_register(layout.RESET_PORT)
    fadt[128] = layout.RESET_VALUE
    fadt[131] = FADT_MINOR
    _put(fadt, 140, dsdt, 8)
    fadt[244:256] = tables.io_register(layout.SLEEP_CONTROL_PORT)
    fadt[256:268] = tables.io_register(layout.SLEEP_STATUS_PORT)
    fadt[268:276] = b"STRATOVI"
    return tables.table(b"FACP", 6, b"VIRTFSCP", bytes(fadt[36:]))


def _madt(cpus: int) -> bytes:
    body = layout.LAPIC_ADDRESS.to_bytes(4, "little") + bytes(4)
    body += b"".join(bytes([0, 8, index, index, 1, 0, 0, 0]) for index in range(cpus))
    body += bytes([1, 12, 0, 0]) + layout.IOAPIC_ADDRESS.to_bytes(4, "little") + bytes(4)
    body += bytes([4, 6, 0xFF, 0, 0, 1])  # NMI on LINT1 of every processor
    return tables.table(b"APIC", 5, b"VIRTAPIC", body)


def _definitions(cpus: int, windows: tuple[tuple[int, int], ...], *, serial: bool) -> bytes:
    devices = [_processor(index) for index in range(cpus)]
    if serial:
        devices.append(_serial())
    devices += [_virtio(index, base, gsi) for index, (base, gsi) in enumerate(windows)]
    sleep = aml.package(aml.integer(layout.SLEEP_TYPE_S5), aml.integer(0), aml.integer(0), aml.integer(0))
    return aml.scope("\\_SB", *devices) + aml.name("\\_S5", sleep)


def _processor(index: int) -> bytes:
    return aml.device(
        f"C{index:03X}", aml.name("_HID", aml.string("ACPI0007")), aml.name("_UID", aml.integer(index))
    )


def _serial() -> bytes:
    return aml.device(
        "COM1",
        aml.name("_HID", aml.eisa_id("PNP0501")),
        aml.name("_UID", aml.integer(0)),
        aml.name("_CRS", aml.resources(aml.io_port(layout.SERIAL_PORT, 8), aml.interrupt(layout.SERIAL_IRQ))),
    )


def _virtio(index: int, base: int, gsi: int) -> bytes:
    return aml.device(
        f"VR{index:02X}",
        aml.name("_HID", aml.string("LNRO0005")),
        aml.name("_UID", aml.integer(index)),
        aml.name("_CCA", aml.integer(1)),
        aml.name("_CRS", aml.resources(aml.memory32_fixed(base, layout.MMIO_SIZE), aml.interrupt(gsi))),
    )


def _put(table: bytearray, offset: int, value: int, size: int) -> None:
    table[offset : offset + size] = value.to_bytes(size, "little")
