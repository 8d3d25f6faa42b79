"""Programs for Linux guests, in their /bin: C files of this folder, linked statically with the host's gcc."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

from tests.rig import cpio

SOURCES = Path(__file__).parent
BUILT = Path(__file__).parents[3] / "build" / "programs"
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-static", "-s", "-Wall", "-Wextra", "-Werror"]


def build(name: str) -> Path:
    """Return the program, built when it is older than its source."""
    source, program = SOURCES / f"{name}.c", BUILT / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        BUILT.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(f".{os.environ.get('STRATOVIRT_RIG_NAME', '')}{os.getpid()}")
        subprocess.run(["gcc", *FLAGS, "-o", str(unfinished), str(source)], check=True)
        unfinished.rename(program)  # two rigs share the folder
    return program


def initrd_with(initrd: Path, target: Path, *names: str) -> Path:
    """Write an initramfs that holds programs too: Linux unpacks one archive after the other."""
    nodes = [cpio.program(f"bin/{name}", build(name).read_bytes()) for name in names]
    target.write_bytes(initrd.read_bytes() + gzip.compress(cpio.pack(nodes), compresslevel=1))
    return target
