"""Guest tests can be shared out to several rigs (tests/guest/rigs.py); the host's side of their cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.guest import claims
from tests.guest.netcard import TAP, add_tap, delete

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    return claims.run_claimed(session)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    claims.note_failure(report)


@pytest.fixture
def tap() -> Iterator[str]:
    """Yield the name of a tap with the host's address."""
    add_tap(TAP, "10.17.0.1")
    yield TAP
    delete(TAP)


@pytest.fixture
def wide_tap() -> Iterator[str]:
    """Yield the name of a tap that takes several queues."""
    add_tap(TAP, "10.17.0.1", "multi_queue")
    yield TAP
    delete(TAP)
