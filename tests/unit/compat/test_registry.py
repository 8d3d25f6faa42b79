"""Which word belongs to which flag (compat/registry.py)."""

from __future__ import annotations

import pytest

from stratovirt.compat.registry import flags, tokenise, values_of
from stratovirt.errors import UsageError

USAGE = "Use '-h' or '-help' to get usage."


def given(*argv: str) -> dict[str, list[list[str]]]:
    return {name: [one.values for one in found] for name, found in tokenise(list(argv)).items()}


def values(name: str, *argv: str) -> list[str]:
    return values_of(flags()[name], tokenise(list(argv))[name])


def test_words_belong_to_the_flag_before_them() -> None:
    assert given("-append", "a=1", "b", "-smp", "2") == {"append": [["a=1", "b"]], "smp": [["2"]]}


def test_short_forms_are_the_same_flag() -> None:
    assert list(given("-S", "-h", "-V")) == ["freeze", "help", "version"]


def test_a_short_form_may_be_repeated() -> None:
    assert given("-S", "-S", "-V", "-V") == {"freeze": [[], []], "version": [[], []]}


def test_append_joins_the_words_of_all_occurrences() -> None:
    assert values("append", "-append", "a", "b", "-append", "c d") == ["a b c d"]


def test_a_repeatable_flag_collects_all_values() -> None:
    assert values("drive", "-drive", "id=a", "id=b", "-drive", "id=c") == ["id=a", "id=b", "id=c"]


def test_an_empty_word_is_a_value() -> None:
    assert values("append", "-append", "") == [""]


@pytest.mark.parametrize("token", ["--smp", "-smp=2", "-", "--", "-x", "-Smp", "stray"])
def test_an_unknown_word_is_refused_in_the_words_of_the_original(token: str) -> None:
    with pytest.raises(UsageError) as caught:
        tokenise([token])

    reason = "which wasn't expected, or isn't valid in the context."
    assert caught.value.message == f"Found argument '{token}' {reason} {USAGE}"


def test_an_unknown_flag_stands_also_where_a_value_is_expected() -> None:
    with pytest.raises(UsageError, match="Found argument '-console'"):
        tokenise(["-append", "-console"])


def test_a_near_miss_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        tokenise(["--disable_secomp"])

    assert "did you mean '-disable-seccomp'" in caught.value.hint


CASES = [
    (("-smp", "1", "-smp", "2"), "The argument 'smp' was provided more than once."),
    (("-daemonize", "-daemonize"), "The argument 'daemonize' was provided more than once."),
]


@pytest.mark.parametrize(("argv", "message"), CASES)
def test_a_single_flag_is_given_once(argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        tokenise(list(argv))

    assert caught.value.message == f"{message} {USAGE}"


COUNTS = [
    ("smp", ("-smp",), "The argument 'smp' requires a value, but none was supplied."),
    ("append", ("-append",), "The argument 'append' requires a value, but none was supplied."),
    ("drive", ("-drive", "-drive", "id=a"), "The argument 'drive' requires a value, but none was supplied."),
    ("m", ("-m", "1G", "2G"), "The argument 'm' only need one value."),
    ("D", ("-D", "a", "b"), "The argument 'D' only need one value."),
    ("daemonize", ("-daemonize", "on"), "The value 'on' is illegel for argument 'daemonize'."),
    ("freeze", ("-S", "now"), "The value 'now' is illegel for argument 'S'."),
]


@pytest.mark.parametrize(("name", "argv", "message"), COUNTS)
def test_a_wrong_number_of_values_is_refused(name: str, argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        values(name, *argv)

    assert caught.value.message == f"{message} {USAGE}"
