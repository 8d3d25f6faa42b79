"""Two rigs run each test once between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.guest import claims, rigs

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

pytest_plugins = ["pytester"]


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


def test_what_failed_is_told_after_all_else(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pytester.mkdir("claims")
    monkeypatch.setattr(claims, "CLAIMS", str(folder))
    pytester.makepyfile(test_it="def test_good():\n    pass\n\ndef test_bad():\n    assert 6 * 9 == 42\n")

    pytester.inline_run(plugins=[Noting()])
    lines = rigs.epilogue({"A": 1, "B": 0}, claims.failures(folder))

    assert lines[0] == ""
    assert lines[1].startswith("test_it.py::test_bad (call)\n")
    assert "test_it.py:5: assert (6 * 9) == 42" in lines[1]
    assert lines[2:] == ["A| ended with status 1, B| ended with status 0; 1 failed"]


def test_nothing_is_added_where_all_passed() -> None:
    assert rigs.epilogue({"A": 0, "B": 0}, []) == []


class Noting:
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        claims.note_failure(report)
