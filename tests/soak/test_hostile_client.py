"""A million messages of clients that mean no good: to a session, and to a running machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.contract.test_qmp_mutations import GROWTH_KIB, Conversation, survive
from tests.guest.assault import Assault

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.soak

MESSAGES = 1_000_000
TIMEOUT_S = 3600
SERVED_S = 0.1


def test_a_million_messages_are_answered_and_leave_nothing(
    monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    seed = int(time.time())
    found = survive(Conversation(monkeypatch), seed, MESSAGES)
    for name, value in {"seed": seed, **found}.items():
        record_property(name, value)

    assert found["growth"] < GROWTH_KIB


@pytest.mark.kvm
def test_a_machine_runs_through_a_million_mutated_messages(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = int(time.time())
    begin = time.monotonic()
    with Assault(tmp_path, seed, timeout=TIMEOUT_S) as assault:
        assault.go_on(messages=MESSAGES)
        assault.end()
    record_property("seed", seed)
    record_property("messages", assault.messages)
    record_property("minutes", round((time.monotonic() - begin) / 60, 1))
    record_property("slowest service of a new client", f"{max(assault.served) * 1e3:.1f} ms")
    record_property("private memory", f"{assault.private_kib[0]} to {assault.private_kib[-1]} KiB")

    assault.check(SERVED_S)
