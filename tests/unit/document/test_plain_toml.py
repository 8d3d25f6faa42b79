"""Reading plain TOML: what it says is what the parser says, and profiles do not wait for the parser."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from stratovirt.document import plain_toml

ROOT = Path(__file__).parents[3]
PROFILES = sorted(ROOT.glob("profiles/*.toml"))
CORPUS = sorted(ROOT.glob("compat/corpus/*.toml"))

KEYS = st.sampled_from(
    ["a", "b", "a.b", "a.b.c", "b.a", "a-b_1", "1", "é", "a . b", '"a"', "'b'", "", "a.", "a\t"]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *("1", "0", "01", "-1", "+1", "1_000", "0x10", "1.5", "1e3", "inf", "9" * 18, "9" * 19, "٣", "é"),
            *("true", "false", "True", "", '""', "''", '"""a"""', "'''a'''", '"a" "b"', '"a"b', "'a'#'b'"),
            *('"a # b"', '"a\\tb"', '"a\tb"', "'a\\b'", '"a', "'a", "[]", "[ ]", "[1]", "[1, 2]", "[ 1 ,2 ]"),
            *("[1,]", "[,]", "[1 2]", '["a"]', "[[1]]", "[1] # ]", "[1", "{}", "{ a = 1 }", "1979-05-27"),
            *("1 # one", "1#", "true#", "1 2"),
        ]
    ),
    st.text(alphabet="\"'\\[]#,=. \tab10é\x7f\u00a0", max_size=8),
)  # fmt: skip
LINES = st.one_of(
    st.builds("{} = {}".format, KEYS, VALUES),
    st.builds("{}={}".format, KEYS, VALUES),
    st.builds("[{}]".format, KEYS),
    st.builds("\t[{}] # {}".format, KEYS, VALUES),
    st.builds("[[{}]]".format, KEYS),
    st.builds("# {}".format, VALUES),
    st.text(alphabet="[]=ab.#\"' \t1\r\x00", max_size=8),
)


def parsed(text: str) -> object:
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError:
        return None


@given(st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_what_is_read_is_what_the_parser_reads(lines: list[str], end: str) -> None:
    text = end.join(lines)
    said = plain_toml.read(text)

    assert said is None or said == parsed(text), text


@given(st.lists(st.builds("{} = 1".format, st.sampled_from(["a", "a.b", "a.b.c", "b", "b.a"])) | st.builds(
    "[{}]".format, st.sampled_from(["a", "a.b", "a.b.c", "b", "b.a"])), max_size=8))  # fmt: skip
def test_tables_are_made_and_met_as_the_parser_does(lines: list[str]) -> None:
    text = "\n".join(lines)
    said = plain_toml.read(text)

    assert said is None or said == parsed(text), text


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.name)
def test_no_profile_here_waits_for_the_parser(path: Path) -> None:
    text = path.read_text()

    assert plain_toml.read(text) == tomli.loads(text)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_of_what_flags_become_only_names_in_quotes_need_it(path: Path) -> None:
    text = path.read_text()
    said = plain_toml.read(text)

    assert said == tomli.loads(text) or (said is None and '."' in text)


def test_a_key_with_half_a_million_parts_is_left_to_the_parser() -> None:
    assert plain_toml.read(f"[{'a.' * 500_000}a]") is None
