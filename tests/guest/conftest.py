"""Guest tests can be shared out to several rigs (tests/guest/rigs.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.guest import claims

if TYPE_CHECKING:
    import pytest


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    return claims.run_claimed(session)
