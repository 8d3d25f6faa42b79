"""Two rigs run each test once between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.guest import claims

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Item:
    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid


def test_a_test_is_run_by_the_rig_that_claims_it_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "CLAIMS", str(tmp_path))
    one: pytest.Item = Item("tests/a.py::one")  # type: ignore[assignment]
    two: pytest.Item = Item("tests/a.py::two")  # type: ignore[assignment]

    assert [claims.claim(one), claims.claim(one), claims.claim(two)] == [True, False, True]
