"""The comma list and its values (compat/keyval.py)."""

from __future__ import annotations

import pytest

from stratovirt.compat.keyval import KeyVal, boolean, hexadecimal, integer, integers, memory
from stratovirt.errors import UsageError
from stratovirt.units import GIB, MIB


def test_an_item_is_split_at_its_first_equals_sign() -> None:
    assert KeyVal("file=/a=b,id=x").take("file") == "/a=b"


def test_a_word_without_key_may_stand_anywhere() -> None:
    keys = KeyVal("id=x,driver")

    assert keys.word() == "driver"
    assert keys.take("id") == "x"


def test_dashes_and_underscores_in_a_key_are_the_same() -> None:
    assert KeyVal("deflate_on_oom=on").take("deflate-on-oom") == "on"
    assert KeyVal("random-file=/dev/random").take("random_file") == "/dev/random"


def test_underscores_in_a_value_stay() -> None:
    assert KeyVal("id=a_b").take("id") == "a_b"


def test_another_word_for_a_key_counts_as_the_key() -> None:
    assert KeyVal("ifname=tap0", {"ifname": "netdev"}).take("netdev") == "tap0"


def test_a_key_that_is_not_there_is_none() -> None:
    assert KeyVal("id=x").take("file") is None


def test_an_implied_key_wins_over_the_written_one() -> None:
    keys = KeyVal("3,cpus=5")
    keys.imply("cpus")

    assert keys.take("cpus") == "3"


@pytest.mark.parametrize(
    "text", ["", ",", ",a=b", "a=b,", "a=b,,c=d", "a=", "=b", "=", "a=b=", "a=1,a=2", "x,y", "x,,y"]
)
def test_a_malformed_list_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"Invalid parameter|offered more than once"):
        KeyVal(text)


def test_a_key_that_nobody_took_is_refused_with_a_suggestion() -> None:
    keys = KeyVal("id=x,redonly=on")
    keys.take("id")
    keys.take("readonly")

    with pytest.raises(UsageError, match="'redonly': no such key") as caught:
        keys.done()
    assert "did you mean 'readonly'?" in caught.value.message
    assert caught.value.hint == "known keys here: id, readonly"


def test_a_word_that_nobody_took_is_refused() -> None:
    with pytest.raises(UsageError, match="Invalid parameter 'raw': a word without key"):
        KeyVal("raw").done()


@pytest.mark.parametrize(
    ("text", "value"),
    [("on", True), ("true", True), ("yes", True), ("off", False), ("false", False), ("no", False)],
)
def test_booleans(text: str, value: object) -> None:
    assert boolean("k", text) is value


@pytest.mark.parametrize("text", ["", "1", "0", "On", "TRUE", "on ", "y"])
def test_other_words_are_no_booleans(text: str) -> None:
    with pytest.raises(UsageError, match="Unable to parse"):
        boolean("k", text)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("254", 254), ("+4", 4), ("007", 7)])
def test_integers_are_decimal_with_an_optional_plus(text: str, value: int) -> None:
    assert integer("k", text) == value


@pytest.mark.parametrize("text", ["", "+", "-1", "0x10", "1_000", " 1", "1.0", "++1", "٣", "9" * 21])
def test_other_words_are_no_integers(text: str) -> None:
    with pytest.raises(UsageError, match="Unable to parse"):
        integer("k", text)


@pytest.mark.parametrize(("text", "value"), [("0x1", 1), ("ff", 255), ("0XfF", 255), ("0", 0)])
def test_hexadecimal_numbers_may_have_0x(text: str, value: int) -> None:
    assert hexadecimal("k", text) == value


@pytest.mark.parametrize("text", ["", "0x", "g", "-1", "0x0x1", "1" * 17])
def test_other_words_are_no_hexadecimal_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="Unable to parse"):
        hexadecimal("k", text)


def test_numbers_may_be_joined_by_colons() -> None:
    assert integers("fds", "3:4") == [3, 4]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("256M", 256 * MIB),
        ("256m", 256 * MIB),
        ("1G", GIB),
        ("2g", 2 * GIB),
        ("805306368", 768 * MIB),
        ("+1M", MIB),
    ],
)
def test_memory_is_bytes_or_has_its_letter_at_the_end(text: str, value: int) -> None:
    assert memory("size", text) == value


@pytest.mark.parametrize(
    "text", ["", "M", "25M6", "m256", "512K", "512MB", "1.5G", "1GG", "-1M", "0x100M", "256 M"]
)
def test_other_words_are_no_memory(text: str) -> None:
    with pytest.raises(UsageError, match="Unable to parse"):
        memory("size", text)


def test_bytes_of_memory_are_whole_mebibytes() -> None:
    with pytest.raises(UsageError, match="Input value 268435457 is unaligned with 1048576 for memory"):
        memory("size", "268435457")


def test_a_number_that_would_be_less_than_a_mebibyte_counts_mebibytes() -> None:
    assert memory("size", "2048") == 2 << 30
    assert memory("size", "1048576") == 1 << 20
