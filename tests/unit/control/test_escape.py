"""Ctrl-A and one more key."""

from __future__ import annotations

import pytest

from stratovirt.control.escape import Escape


@pytest.mark.parametrize(
    ("typed", "guest", "letters"),
    [
        (b"abc\r\x03", b"abc\r\x03", ""),
        (b"\x01x", b"", "x"),
        (b"a\x01hb", b"ab", "h"),
        (b"\x01\x01", b"\x01", ""),
        (b"\x01\x01x", b"\x01x", ""),
        (b"\x01b", b"\x01b", ""),
        (b"x\x01h\x01x\xff", b"x\xff", "hx"),
    ],
)
def test_keys_are_told_apart(typed: bytes, guest: bytes, letters: str) -> None:
    assert Escape().filter(typed) == (guest, letters)


def test_the_two_keys_can_come_one_by_one() -> None:
    escape = Escape()

    assert escape.filter(b"a\x01") == (b"a", "")
    assert escape.filter(b"x") == (b"", "x")
