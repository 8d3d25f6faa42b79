"""Tiny bare-metal guests: C files of tests/guest/tiny, linked flat at 16 MiB with the host's gcc."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent / "tiny"
BUILT = Path(__file__).parents[2] / "build" / "tiny"
FLAGS = [
    "-std=gnu11", "-O1", "-ffreestanding", "-nostdlib", "-static", "-fno-pic", "-no-pie", "-mcmodel=large",
    "-mno-sse", "-mno-mmx", "-mgeneral-regs-only", "-mno-red-zone",
    "-fno-stack-protector", "-fcf-protection=none",
    "-Wall", "-Wextra", "-Werror", "-Wl,--build-id=none",
]  # fmt: skip


def build(name: str) -> Path:
    """Return the flat image of a guest, built when it is older than its sources."""
    return _linked(SOURCES / f"{name}.c", BUILT / f"{name}.bin", [*FLAGS, f"-Wl,-T,{SOURCES / 'flat.ld'}"])


def build_elf(name: str) -> Path:
    """Return the same guest as an ELF image without a note: the 64-bit entry is all that it has."""
    script = f"-Wl,-T,{SOURCES / 'flat.ld'}"
    return _linked(
        SOURCES / f"{name}.c", BUILT / f"{name}.elf64", [*FLAGS, script, "-Wl,--oformat=elf64-x86-64"]
    )


def build_pvh(name: str) -> Path:
    """Return an ELF image with a PVH note, which QEMU's microvm starts too."""
    flags = ["-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", f"-Wl,-T,{SOURCES / 'pvh.ld'}"]
    return _linked(SOURCES / f"{name}.S", BUILT / f"{name}.elf", flags)


def _linked(source: Path, image: Path, flags: list[str]) -> Path:
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if image.exists() and image.stat().st_mtime > newest:
        return image
    BUILT.mkdir(parents=True, exist_ok=True)
    unfinished = image.with_suffix(f".{os.environ.get('STRATOVIRT_RIG_NAME', '')}{os.getpid()}")
    subprocess.run(["gcc", *flags, "-o", str(unfinished), str(source)], check=True)
    return unfinished.rename(image)  # two rigs share the folder
