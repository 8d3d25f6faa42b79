"""Ten minutes of a guest that attacks its machine: nothing grows, QMP answers, the neighbour works on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.guest.hostile import OWN_THREADS, Attack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.soak]

SECONDS = 600
ANSWER_S = 0.1
GROWTH_KIB = 1024
CONTROL_SHARE = 0.1


def test_ten_minutes_of_attacks_leave_no_trace(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = int(time.time())
    with Attack(tmp_path, seed, rounds=1 << 40, timeout=SECONDS + 60) as attack:
        attack.watch(SECONDS)
        attack.end()
    quarter = len(attack.private_kib) // 4
    figures = {
        "seed": seed,
        "rounds": attack.marks(b"round "),
        "answers": len(attack.answers.own),
        "slowest answer": f"{attack.answers.worst()[0] * 1e3:.1f} ms",
        "median answer": f"{attack.answers.median() * 1e3:.1f} ms",
        "control thread": f"{attack.control_share:.1%} of a CPU",
        "private memory": f"{attack.private_kib[quarter]} to {attack.private_kib[-1]} KiB",
    }
    for name, value in figures.items():
        record_property(name, value)

    assert attack.status == 0
    assert attack.seconds >= SECONDS
    assert attack.answers.worst() < (ANSWER_S, "")
    assert attack.neighbours_answers.worst() < (ANSWER_S, "")
    assert attack.longest_gap_s < 2
    assert max(attack.private_kib[quarter:]) - attack.private_kib[quarter] < GROWTH_KIB
    assert len(attack.log.splitlines()) <= attack.lines_at_most()
    assert {name for name in attack.names if not name.startswith(OWN_THREADS)} == set()
    assert attack.control_share < CONTROL_SHARE
