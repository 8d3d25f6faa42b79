"""Huge pages of the host, for a while."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNT = Path("/dev/hugepages")  # of 2 MiB pages


def pool_of(page: int) -> Path:
    """Return the folder in which Linux tells of its huge pages of a size in bytes."""
    return Path(f"/sys/kernel/mm/hugepages/hugepages-{page >> 10}kB")


@contextmanager
def huge_pages(count: int, page: int = 2 << 20) -> Iterator[Path]:
    """Give the host so many pages, of which files are made at MOUNT; yield their pool.

    The test is skipped where there cannot be any.
    """
    if not MOUNT.is_mount():
        pytest.skip("needs a hugetlbfs at /dev/hugepages")
    with filled_pool(count, page) as pool:
        yield pool


@contextmanager
def filled_pool(count: int, page: int = 2 << 20) -> Iterator[Path]:
    """Give the host so many pages; yield their pool. The test is skipped where there cannot be any."""
    number = pool_of(page) / "nr_hugepages"
    if not os.access(number, os.W_OK):
        pytest.skip("needs root and huge pages of this size")
    before = number.read_text()
    Path("/proc/sys/vm/compact_memory").write_text("1")
    number.write_text(str(count))
    try:
        if int(number.read_text()) < count:
            pytest.skip("this host has not enough memory in one piece")
        yield number.parent
    finally:
        number.write_text(before)
