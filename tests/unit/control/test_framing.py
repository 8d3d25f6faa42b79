"""Messages are cut by JSON value, whatever pieces they come in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratovirt.control.qmp.framing import DEEPEST_NESTING, LONGEST_MESSAGE, Framer, FramingError

if TYPE_CHECKING:
    from collections.abc import Sequence

ERROR = "error"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
messages = st.dictionaries(st.text(), values, max_size=4)


def framed(framer: Framer, *pieces: bytes) -> list[bytes | str]:
    """Return the messages, with ERROR for each piece that is none."""
    return [
        ERROR if isinstance(message, FramingError) else message
        for piece in pieces
        for message in framer.feed(piece)
    ]


def reason(data: bytes) -> str:
    (error,) = Framer().feed(data)
    return str(error)


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(
    st.lists(messages, max_size=4),
    st.sampled_from([b"", b"\n", b"\r\n", b"  \t"]),
    st.lists(st.integers(0), max_size=6),
)
def test_values_come_out_as_they_went_in(sent: list[object], between: bytes, cuts: list[int]) -> None:
    data = between.join([json.dumps(message, ensure_ascii=False).encode() for message in sent])

    assert [json.loads(message) for message in framed(Framer(), *split(data, cuts))] == sent


@given(st.lists(messages, min_size=1, max_size=3))
def test_one_byte_at_a_time_is_enough(sent: list[object]) -> None:
    data = b"\n".join([json.dumps(message, indent=1).encode() for message in sent])

    assert [json.loads(m) for m in framed(Framer(), *[bytes([byte]) for byte in data])] == sent


@given(st.binary(max_size=200), st.lists(st.integers(0), max_size=4))
def test_no_garbage_stops_the_next_line(garbage: bytes, cuts: list[int]) -> None:
    framer = Framer()
    framed(framer, *split(garbage, cuts))
    framed(framer, b"]\x00\n")  # ends whatever was begun

    assert framed(framer, b'{"execute":"stop"}') == [b'{"execute":"stop"}']


def test_two_messages_need_nothing_between_them() -> None:
    assert framed(Framer(), b'{"a":1}{"b":[2,{"c":"}"}]}') == [b'{"a":1}', b'{"b":[2,{"c":"}"}]}']


@pytest.mark.parametrize(
    "broken",
    [
        b"garbage",
        b"42",
        b'"text"',
        b"[1]",
        b"}",
        b"\xff\xfe",
        b"\x00",
        b'{"a" "b"}',
        b'{"a":1,}',
        b'{"a":}',
        b"{,}",
        b"{1:2}",
        b'{"a":[1 2]}',
        b'{"a":[1}',
        b'{"a":tru e}',
        b'{"a":1]',
        b'{"a"}',
    ],
)
def test_what_is_no_message_is_told_once_and_the_next_one_works(broken: bytes) -> None:
    framer = Framer()

    assert framed(framer, broken) == [ERROR]
    assert framed(framer, b'{"execute":"stop"}') == [b'{"execute":"stop"}']
    assert framed(framer, broken + b"\n" + b'{"execute":"cont"}') == [ERROR, b'{"execute":"cont"}']


def test_a_forgotten_bracket_does_not_swallow_what_follows() -> None:
    framer = Framer()

    assert framed(framer, b'{"execute":"stop"\n') == []
    assert framed(framer, b'{"execute":"stop"}\n') == [ERROR]
    assert framed(framer, b'{"execute":"stop"}\n') == [b'{"execute":"stop"}']


def test_a_line_that_ends_inside_a_string_is_over() -> None:
    assert framed(Framer(), b'{"execute":"sto\n{"a":1}\n') == [ERROR, b'{"a":1}']


def test_nesting_has_a_bound() -> None:
    deep = b'{"a":' + b"[" * (DEEPEST_NESTING - 1) + b"]" * (DEEPEST_NESTING - 1) + b"}"
    deeper = b'{"a":' + b"[" * DEEPEST_NESTING + b"]" * DEEPEST_NESTING + b"}"

    assert framed(Framer(), deep) == [deep]
    assert framed(Framer(), deeper, b"[[[", b'\n{"b":1}') == [ERROR, b'{"b":1}']


def test_a_message_of_the_longest_size_passes_and_one_byte_more_does_not() -> None:
    fits = b'{"a":"' + b"x" * (LONGEST_MESSAGE - 8) + b'"}'

    assert framed(Framer(), fits) == [fits]
    assert framed(Framer(), fits[:-2] + b'x"}\n', b'{"b":1}') == [ERROR, b'{"b":1}']


def test_a_line_without_end_keeps_no_memory_and_ends_at_its_newline() -> None:
    framer = Framer()
    piece = b'{"a":"' + b"x" * 65536
    found = framed(framer, *[piece if i == 0 else b"x" * 65536 for i in range(40)])

    assert found == [ERROR]
    assert len(framer._buffer) == 0
    assert framed(framer, b'{"execute":"quit"}', b'\n{"b":1}') == [b'{"b":1}']


def test_many_empty_lines_are_nothing() -> None:
    assert framed(Framer(), b"\n" * 100_000 + b'{"a":1}') == [b'{"a":1}']


def test_reasons_say_what_and_where() -> None:
    assert reason(b"hello") == 'a message is a JSON object, like {"execute": "query-status"}'
    assert reason(b'{"a" 1') == "unexpected '1' at byte 5 of the message"
    assert reason(b'{"a":\x01') == "unexpected byte 0x01 at byte 5 of the message"


def test_an_end_in_the_middle_is_told() -> None:
    framer = Framer()
    framed(framer, b'{"a":1} {"b"')

    assert str(framer.end()) == "the message has no end"


def test_an_end_between_messages_is_fine() -> None:
    framer = Framer()
    framed(framer, b'{"a":1} \n')

    assert framer.end() is None
