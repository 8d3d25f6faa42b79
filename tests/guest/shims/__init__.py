"""Libraries that the tests preload: the host's system calls, held back or failing when a test says so."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parent
BUILT = Path(__file__).parents[3] / "build" / "shims"
FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
# The words of struct control in disk_faults.c, in their order.
WORDS = ("no_uring", "hold_sync", "syncs", "synced", "sync_error", "write_error", "read_error", "clock_step")


def build(name: str) -> Path:
    """Return the library, built when it is older than its source."""
    source, library = SOURCES / f"{name}.c", BUILT / f"{name}.so"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        BUILT.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", *FLAGS, "-o", str(library), str(source)], check=True)
    return library


ENGINES = pytest.mark.parametrize("no_uring", [0, 1], ids=["io_uring", "plain calls"])


class DiskFaults:
    """What a process under the library sees of its disks; words may be changed while it runs."""

    def __init__(self, folder: Path, **words: int) -> None:
        self._path = folder / "faults"
        self._path.write_bytes(bytes(4096))
        with self._path.open("r+b") as file:
            self._words = mmap.mmap(file.fileno(), 4096)
        for name, value in words.items():
            self.set(name, value)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the process."""
        return {
            **os.environ,
            "LD_PRELOAD": str(build("disk_faults")),
            "STRATOVIRT_TEST_FAULTS": str(self._path),
        }

    def set(self, name: str, value: int) -> None:
        struct.pack_into("<i", self._words, 4 * WORDS.index(name), value)

    def get(self, name: str) -> int:
        (value,) = struct.unpack_from("<i", self._words, 4 * WORDS.index(name))
        return int(value)
