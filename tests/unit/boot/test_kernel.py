"""Kernel images: each kind is told, and what cannot be one is refused by name whatever its bytes say."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

import pytest

from stratovirt.boot.kernel import KernelError, KernelImage, KernelPlan
from stratovirt.boot.x86_64.kernels import WANTED, plan_kernel

if TYPE_CHECKING:
    from pathlib import Path


def elf(
    *,
    machine: int = 62,
    kind: int = 4,
    segments: int = 1,
    entry: int = 0xFFFFFFFF81000000,
    physical: int = 0x1000000,
    more: tuple[int, ...] = (),
) -> bytes:
    """Return a small ELF with one segment at 16 MiB and a PVH note (program header of kind 4)."""
    note_bytes = struct.pack("<III4sQ", 4, 8, 18, b"Xen\0", 0x1000370)
    headers = 64 + 56 * (2 + len(more))
    others = b"".join(struct.pack("<IIQQQQQQ", other, 4, 0, 0, 0, 0, 0, 1) for other in more)
    load = struct.pack("<IIQQQQQQ", 1, 5, headers, 0xFFFFFFFF81000000, physical, 64, 128, 4096)
    notes = struct.pack("<IIQQQQQQ", kind, 4, headers + 64, 0, 0, len(note_bytes), len(note_bytes), 4)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = ident + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, (2 + len(more)) * segments, 0, 0, 0
    )
    return head + load + notes + others + bytes(64) + note_bytes


def bzimage(*, size: int = 8192, version: int = 0x20F, xloadflags: int = 1) -> bytes:
    image = bytearray(size)
    image[0x1F1] = 1
    struct.pack_into("<I", image, 0x1F4, (size - 1024) // 16)
    image[0x1FE:0x202] = b"\x55\xaa\xeb\x6a"
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x206, version)
    image[0x211] = 1
    struct.pack_into("<I", image, 0x214, 0x100000)
    struct.pack_into("<I", image, 0x22C, 0x7FFFFFFF)
    struct.pack_into("<HI", image, 0x236, xloadflags, 2047)
    struct.pack_into("<QI", image, 0x258, 0x1000000, 0x2000000)
    return bytes(image)


def plan_of(content: bytes, tmp_path: Path) -> KernelPlan:
    path = tmp_path / "kernel"
    path.write_bytes(content)
    with KernelImage(str(path), WANTED) as image:
        return plan_kernel(image)


def test_a_bzimage_is_entered_at_its_64_bit_entry(tmp_path: Path) -> None:
    plan = plan_of(bzimage(), tmp_path)
    (segment,) = plan.segments

    assert (plan.protocol, plan.entry) == ("linux64", 0x100200)
    assert (segment.file_offset, segment.address, segment.file_size) == (1024, 0x100000, 7168)
    assert plan.end == 0x3000000, "it unpacks itself at its preferred address"
    assert (plan.initrd_max, plan.cmdline_max) == (0x37FFFFFF, 2047)


def test_an_elf_with_a_pvh_note_is_entered_there(tmp_path: Path) -> None:
    plan = plan_of(elf(), tmp_path)

    assert (plan.protocol, plan.entry) == ("pvh", 0x1000370)
    assert [(s.address, s.file_size, s.memory_size) for s in plan.segments] == [(0x1000000, 64, 128)]


def test_a_kernel_that_names_a_linker_as_freebsds_does_is_one_by_its_note(tmp_path: Path) -> None:
    assert plan_of(elf(more=(3,)), tmp_path).protocol == "pvh"


def test_an_elf_without_a_note_is_entered_at_its_physical_entry(tmp_path: Path) -> None:
    plan = plan_of(elf(kind=6), tmp_path)

    assert (plan.protocol, plan.entry) == ("linux64", 0x1000000)


def test_anything_else_is_a_flat_image(tmp_path: Path) -> None:
    plan = plan_of(b"\xf4", tmp_path)

    assert (plan.protocol, plan.entry, plan.end) == ("flat", 0x1000000, 0x1000001)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b\x08rest", "gzip-compressed"),
        (b"#!/bin/sh\n", "is a script"),
        (b"console=ttyS0 root=/dev/vda\n", "is a text"),
        (b"070701" + bytes(104), "is a cpio archive"),
        (bytes(56) + b"ARM\x64" + bytes(4), "another processor: aarch64"),
        (bytes(510) + b"\x55\xaa" + bytes(512), "begins like a disk"),
        (bytes(0x438) + b"\x53\xef" + bytes(64), "is an ext file system"),
        (elf(machine=183), "another processor"),
        (elf(kind=3), "is a program for an operating system"),
        (elf(physical=0), "at 0x0, where the boot tables are"),
        (elf()[:100], "is cut off"),
        (elf(segments=100), "200 program headers"),
        (bzimage()[:1500], "is cut off"),
        (bzimage(xloadflags=0), "no 64-bit entry"),
    ],
)
def test_what_cannot_be_a_kernel_is_refused_by_name(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=reason) as caught:
        plan_of(content, tmp_path)
    assert str(tmp_path / "kernel") in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("original", [elf(), bzimage()], ids=["elf", "bzimage"])
def test_random_damage_never_does_more_than_refuse(original: bytes, tmp_path: Path) -> None:
    source = random.Random(7)
    for _ in range(1500):
        content = bytearray(original[: source.randint(1, len(original))])
        for _change in range(source.randint(1, 8)):
            content[source.randrange(min(len(content), 700))] = source.choice(
                (0, 1, 0x7F, 0x80, 0xFF, source.randrange(256))
            )
        try:
            plan = plan_of(bytes(content), tmp_path)
        except KernelError:
            continue

        for segment in plan.segments:
            assert 0 <= segment.file_offset <= segment.file_offset + segment.file_size <= len(content)
            assert segment.file_size <= segment.memory_size
