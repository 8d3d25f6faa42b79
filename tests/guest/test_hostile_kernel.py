"""A guest that attacks what the host's kernel serves it with: vhost, O_DIRECT, huge pages, interrupts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.guest.hostile import Attack
from tests.guest.pools import huge_pages
from tests.guest.prey import PAGES, PreyOfTheKernel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kvm, pytest.mark.linux]

ROUNDS = 3000  # 20 seconds; of a thousand some five open a stream
VHOSTS = 3  # of the streams, and of each pair of the card
WINDOWS = 10


@pytest.fixture
def pages() -> Iterator[Path]:
    """Yield the pool of huge pages that the guest's memory comes from."""
    with huge_pages(PAGES) as pool:
        yield pool


def targets(pid: int) -> list[str]:
    """Return what the descriptors of a process are."""
    return [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]


@pytest.mark.parametrize("uring", [True, False], ids=["io_uring", "plain calls"])
def test_vhost_and_direct_disks_and_huge_pages_survive_an_attack(
    uring: bool,  # noqa: FBT001
    pages: Path,
    tmp_path: Path,
) -> None:
    free = int((pages / "free_hugepages").read_text())
    prey = PreyOfTheKernel(tmp_path, uring=uring)
    with Attack(prey, seed=1, rounds=ROUNDS, timeout=200) as attack:
        opened = targets(attack.attacked.pid)
        attack.watch(seconds=150)
        used = free - int((pages / "free_hugepages").read_text())
        attack.end()

    assert opened.count("/dev/vhost-net") == 2
    assert opened.count("/dev/vhost-vsock") == 1
    assert ("anon_inode:[io_uring]" in opened) == uring
    assert str(prey.image) in opened
    assert used > 0
    assert min(attack.frames) > 0
    assert prey.heard > 0
    assert "the guest broke a queue that vhost serves" in attack.log
    attack.check()
    assert attack.marks(b"windows ") >= WINDOWS
    assert attack.marks(b"sound ") == attack.marks(b"windows ")
