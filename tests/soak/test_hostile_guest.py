"""Ten minutes of a guest that attacks its machine: nothing grows, QMP answers, the neighbour works on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.guest.hostile import Attack
from tests.guest.pools import huge_pages
from tests.guest.prey import PAGES, Prey, PreyOfTheKernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Record = Callable[[str, object], None]

pytestmark = [pytest.mark.kvm, pytest.mark.soak]

SECONDS = 600


def attack_for(seconds: float, prey: Prey, record_property: Record) -> None:
    """Have a machine attacked for so long; tell its figures, and assert that nothing is left of it."""
    seed = int(time.time())
    with Attack(prey, seed, rounds=1 << 40, timeout=seconds + 60) as attack:
        attack.watch(seconds)
        attack.end()
    quarter = len(attack.private_kib) // 4
    figures = {
        "seed": seed,
        "rounds": attack.marks(b"round "),
        "answers": len(attack.answers.all),
        "slowest answer": f"{attack.answers.worst()[0] * 1e3:.1f} ms",
        "median answer": f"{attack.answers.median() * 1e3:.1f} ms",
        "control thread": f"{attack.control_share:.1%} of a CPU",
        "private memory": f"{attack.private_kib[quarter]} to {attack.private_kib[-1]} KiB",
        "streams that the guest opened": prey.heard,
        "frames in and out of each card": " ".join(map(str, attack.frames)) or prey.card.missing,
    }
    for name, value in figures.items():
        record_property(name, value)

    assert attack.seconds >= seconds
    attack.check()


def test_ten_minutes_of_attacks_leave_no_trace(tmp_path: Path, record_property: Record) -> None:
    attack_for(SECONDS, Prey(tmp_path), record_property)


@pytest.mark.linux
@pytest.mark.parametrize("uring", [True, False], ids=["io_uring", "plain calls"])
def test_minutes_of_attacks_on_what_the_kernel_serves_leave_no_trace(
    uring: bool,  # noqa: FBT001
    tmp_path: Path,
    record_property: Record,
) -> None:
    with huge_pages(PAGES):
        attack_for(SECONDS / 4, PreyOfTheKernel(tmp_path, uring=uring), record_property)
