"""ACPI tables: right checksums, and what Intel's own compiler says of them."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from stratovirt.boot.acpi import aml
from stratovirt.boot.x86_64 import acpi, layout

if TYPE_CHECKING:
    from pathlib import Path


def tables(cpus: int, windows: int, *, serial: bool = True) -> dict[str, bytes]:
    """Follow the pointers as a guest does: root pointer, XSDT, FADT, DSDT."""
    root, memory = acpi.build(cpus, layout.MMIO_WINDOWS[:windows], serial=serial)

    def at(address: int, size: int) -> bytes:
        start = address - layout.ACPI_ADDRESS
        return memory[start : start + size]

    def table(address: int) -> bytes:
        whole = at(address, int.from_bytes(at(address + 4, 4), "little"))
        assert sum(whole) & 0xFF == 0
        return whole

    pointer = at(root, 36)
    assert pointer[:8] == b"RSD PTR "
    assert sum(pointer[:20]) & 0xFF == sum(pointer) & 0xFF == 0
    xsdt = table(int.from_bytes(pointer[24:32], "little"))
    listed = [table(int.from_bytes(xsdt[i : i + 8], "little")) for i in range(36, len(xsdt), 8)]
    found = {whole[:4].decode(): whole for whole in [xsdt, *listed]}
    found["DSDT"] = table(int.from_bytes(found["FACP"][140:148], "little"))
    return found


@pytest.mark.parametrize(("cpus", "windows"), [(1, 0), (2, 5), (254, 16)])
def test_every_table_disassembles_and_compiles_without_a_warning(
    cpus: int, windows: int, tmp_path: Path
) -> None:
    if shutil.which("iasl") is None:
        pytest.skip("needs iasl (Debian package acpica-tools)")
    for name, content in tables(cpus, windows).items():
        (tmp_path / f"{name}.dat").write_bytes(content)
        down = subprocess.run(
            ["iasl", "-d", f"{name}.dat"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        up = subprocess.run(
            ["iasl", "-we", f"{name}.dsl"], cwd=tmp_path, capture_output=True, text=True, check=False
        )

        assert down.returncode == 0, down.stderr
        assert "arning" not in down.stdout + down.stderr
        assert up.returncode == 0, up.stdout + up.stderr


def test_the_fadt_is_hardware_reduced_and_says_what_is_absent() -> None:
    fadt = tables(1, 0)["FACP"]
    flags = int.from_bytes(fadt[112:116], "little")
    boot_flags = int.from_bytes(fadt[109:111], "little")

    assert flags & (1 << 20)
    assert flags & (1 << 10)
    assert boot_flags & 2 == 0, "bit 1 would promise an 8042"
    assert boot_flags & (1 << 5), "no CMOS clock"
    assert fadt[120:128] == layout.RESET_PORT.to_bytes(8, "little")
    assert fadt[248:256] == layout.SLEEP_CONTROL_PORT.to_bytes(8, "little")


@pytest.mark.parametrize("cpus", [1, 2, 254])
def test_the_madt_names_every_processor_once(cpus: int) -> None:
    madt = tables(cpus, 0)["APIC"]
    entries = []
    at = 44
    while at < len(madt):
        entries.append(madt[at : at + madt[at + 1]])
        at += madt[at + 1]

    assert [entry[3] for entry in entries if entry[0] == 0] == list(range(cpus))
    assert len([entry for entry in entries if entry[0] == 1]) == 1


def test_the_dsdt_describes_each_window_with_its_line() -> None:
    dsdt = tables(1, 16)["DSDT"]

    for base, gsi in layout.MMIO_WINDOWS:
        assert aml.memory32_fixed(base, 0x200) + aml.interrupt(gsi) in dsdt


def test_a_machine_without_a_serial_port_describes_none() -> None:
    assert b"COM1" in tables(1, 0)["DSDT"]
    assert b"COM1" not in tables(1, 0, serial=False)["DSDT"]


@pytest.mark.parametrize(
    ("value", "expected"), [(0, "00"), (1, "01"), (2, "0a02"), (0x1234, "0b3412"), (1 << 31, "0c00000080")]
)
def test_integers_take_their_shortest_form(value: int, expected: str) -> None:
    assert aml.integer(value).hex() == expected


@pytest.mark.parametrize("size", [1, 50, 60, 70, 4000, 70000])
def test_a_package_length_counts_itself(size: int) -> None:
    encoded = aml.scope("\\_SB", bytes(size))[1:]
    extra = encoded[0] >> 6
    length = encoded[0] & 0x3F
    if extra:
        length = (encoded[0] & 0xF) | int.from_bytes(encoded[1 : 1 + extra], "little") << 4

    assert length == len(encoded)
