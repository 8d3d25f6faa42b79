"""Two rigs run each test once between them, and what a rig that stopped left is run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.guest import again, rigs

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Item:
    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid


def test_a_test_is_run_by_the_rig_that_claims_it_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "CLAIMS", str(tmp_path))
    one: pytest.Item = Item("tests/a.py::one")  # type: ignore[assignment]
    two: pytest.Item = Item("tests/a.py::two")  # type: ignore[assignment]

    assert [again.claim(one), again.claim(one), again.claim(two)] == [True, False, True]


def test_a_rig_gives_back_what_did_not_pass_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = tmp_path / "claims"
    claims.mkdir()
    monkeypatch.setattr(rigs, "CLAIMS", claims)
    for name, owner in (("passed", "A"), ("cut-off", "A"), ("elsewhere", "B")):
        (claims / name).write_text(f"{owner} tests/a.py::{name}")
    (tmp_path / "passed.A").write_text("tests/a.py::passed\n")
    left = rigs.release("A", tmp_path / "passed.A")

    assert left == ["tests/a.py::cut-off"]
    assert {path.name for path in claims.iterdir()} == {"passed", "elsewhere"}
