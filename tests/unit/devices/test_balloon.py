"""What a balloon is made with."""

from __future__ import annotations

import pytest

from stratovirt.devices.balloon import Balloon


@pytest.mark.parametrize(("huge_pages", "reported"), [(False, True), (True, False)])
def test_free_pages_are_reported_unless_memory_is_of_huge_ones(*, huge_pages: bool, reported: bool) -> None:
    assert Balloon().reports(huge_pages=huge_pages) is reported


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("huge_pages", [True, False])
def test_a_document_that_says_so_has_its_way(*, wanted: bool, huge_pages: bool) -> None:
    assert Balloon(free_page_reporting=wanted).reports(huge_pages=huge_pages) is wanted
