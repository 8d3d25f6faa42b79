"""Programs for Linux guests: the C files of this folder, linked statically, and some of the host's."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.rig import cpio

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def from_host(name: str) -> list[cpio.Node]:
    """Return a program of the host with the libraries that it needs, each where the host has it."""
    program = shutil.which(name)
    assert program is not None, f"{name} is not here: python3 -m tests.rig packages bench"
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = [word for word in said.split() if word.startswith("/")]
    folders = dict.fromkeys(
        str(parent).lstrip("/")
        for library in libraries
        for parent in reversed(Path(library).parents)
        if str(parent) != "/"
    )
    return [
        *(cpio.folder(folder) for folder in folders),
        *(cpio.program(library.lstrip("/"), Path(library).read_bytes()) for library in libraries),
        cpio.program(f"bin/{name}", Path(program).read_bytes()),
    ]


def initrd_with(initrd: Path, target: Path, *names: str, more: Sequence[cpio.Node] = ()) -> Path:
    """Write an initramfs that holds programs too: Linux unpacks one archive after the other."""
    nodes = [*(cpio.program(f"bin/{name}", build(name).read_bytes()) for name in names), *more]
    target.write_bytes(initrd.read_bytes() + gzip.compress(cpio.pack(nodes), compresslevel=1))
    return target
