"""docs/guidebook.md lists every row of the guidebook's chapters 2 and 3 with the tests that show it."""

from __future__ import annotations

from tests.contract import guidebook


def test_every_row_is_shown_by_a_test_and_no_test_shows_an_unknown_one() -> None:
    known = guidebook.shown()

    assert [row for row, tests in known.items() if not tests] == []
    assert set(known) == set(guidebook.ROWS)


def test_the_committed_table_is_the_present_one() -> None:
    assert guidebook.TABLE.read_text() == guidebook.text(), "run: make contracts"
