"""Clients that mean no good, and a machine that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.guest.assault import Assault

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kvm

SECONDS = 8
SERVED_S = 0.1


def test_mutated_messages_cost_a_running_machine_nothing(tmp_path: Path) -> None:
    with Assault(tmp_path, seed=1, timeout=60) as assault:
        assault.go_on(SECONDS)
        assault.end()

    assert assault.messages > 500
    assault.check(SERVED_S)
