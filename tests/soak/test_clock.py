"""A real step of the host's clock: only where the clock is ours, and nobody else runs."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.guest.stepped import STEP_S, clock_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kvm, pytest.mark.linux, pytest.mark.soak]


@pytest.fixture
def step() -> Iterator[Callable[[int], float]]:
    """Yield what moves the clock of this host; it is put right afterwards."""
    if os.environ.get("STRATOVIRT_RIG") != "1":
        pytest.skip("the clock of this host is not ours")
    ahead = time.time() - time.monotonic()

    def by(seconds: int) -> float:
        time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)
        return time.time()

    yield by
    time.clock_settime(time.CLOCK_REALTIME, ahead + time.monotonic())


def test_a_step_of_the_hosts_clock_moves_the_guests_clock_and_nothing_else(
    step: Callable[[int], float], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    clock_steps(tmp_path, step)
    record_property("steps", f"{STEP_S // 86400} days ahead, twice as many back, and ahead again")
