"""What a running machine holds of its host: descriptors, threads, memory of its own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

GUEST_SIZE = 256 << 20  # a mapping of this size or more is guest memory


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """Return how many threads there are; io_uring's workers come and go, and are the kernel's."""
    names = [(task / "comm").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return len([name for name in names if not name.startswith("iou-")])


def sleeps(pid: int) -> dict[str, int]:
    """Return how often each thread went to sleep, by name: one that serves a queue does at each turn."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one of io_uring's that went
            lines = (task / "status").read_text().splitlines()
            (line,) = [line for line in lines if line.startswith("voluntary_ctxt_switches")]
            found[(task / "comm").read_text().strip()] = int(line.split()[1])
    return found


PRIVATE = frozenset({"Private_Clean:", "Private_Dirty:", "Private_Hugetlb:"})
RESIDENT = frozenset({"Rss:", "Private_Hugetlb:"})


def private_kib(pid: int) -> int:
    """Return the private memory without the guest's."""
    return _kib(pid, PRIVATE)


def resident_kib(pid: int) -> int:
    """Return what would be private memory if no other process had the same files, without the guest's."""
    return _kib(pid, RESIDENT)


def _kib(pid: int, kinds: frozenset[str]) -> int:
    total, counts = 0, True
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            start, end = (int(word, 16) for word in first.split("-"))
            counts = end - start < GUEST_SIZE
        elif first in kinds and counts:
            total += int(rest[0])
    return total


class Counts:
    """The three figures at one moment."""

    def __init__(self, pid: int) -> None:
        self.descriptors = descriptors(pid)
        self.threads = threads(pid)
        self.private_kib = private_kib(pid)

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors, {self.threads} threads, {self.private_kib} KiB"
