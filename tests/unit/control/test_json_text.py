"""The lean JSON agrees with the standard one, and is stricter where the standard one is lax."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratovirt.control.qmp import json_text

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_it_writes_what_json_writes(value: object) -> None:
    assert json_text.line(value) == (json.dumps(value, separators=(",", ":")) + "\n").encode()


@given(values)
def test_it_reads_what_json_reads(value: object) -> None:
    assert (
        json_text.parse(json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass"))
        == value
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tru",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "{} {}",
        '"\\x"',
        '"\t"',
        '{"a":1,}',
        "[1,]",
        "01",
        "-",
        "1" * 5000,
    ],
)
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        json_text.parse(text.encode())


@pytest.mark.parametrize("text", ['"\\x"', '"\t"', '"', '{"a" 1}', '["\\ud8"]'])
def test_it_is_one_too_where_nobody_has_imported_json(text: str) -> None:
    code = (
        "import sys\n"
        "from stratovirt.control.qmp import json_text\n"
        "assert 'json.decoder' not in sys.modules\n"
        "try: json_text.parse(sys.argv[1].encode())\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_bytes_that_are_no_utf8_are_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"."):
        json_text.parse(b'"\xff"')


def test_what_is_no_json_is_never_written() -> None:
    with pytest.raises(TypeError):
        json_text.line({"a": {1, 2}})
    with pytest.raises(ValueError, match=r"."):
        json_text.line(float("inf"))


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, "b", null, true]}', "[]", '"\\u00e9"', "-1e3"])
def test_an_interpreter_without_the_c_parts_does_the_same(text: str) -> None:
    scan, encode = json_text._plain_parts()
    value, end = scan(text, 0)

    assert (value, end) == (json.loads(text), len(text))
    assert "".join(encode(value, 0)) == json.dumps(value, separators=(",", ":"))


def test_without_the_c_parts_numbers_are_finite_too() -> None:
    scan, _ = json_text._plain_parts()
    with pytest.raises(ValueError, match="too large"):
        scan("1e999", 0)
