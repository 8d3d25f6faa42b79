"""JSON to values and back, strict in both directions.

The C parts that `json` itself is made of are used without their wrapper, which would bring `re` and `enum`:
1.1 MiB for each machine. Where an interpreter has no such parts, `json` does the same.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar

WHITE_SPACE = " \t\n\r"  # RFC 8259, 2


class _Rules:
    """What a scanner of `json` asks: numbers have to be finite, the rest is as usual."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_int = int
    memo: ClassVar[dict[str, str]] = {}

    @staticmethod
    def parse_float(text: str) -> float:
        number = float(text)
        if number - number != 0:
            raise ValueError(f"{text} is too large")
        return number

    @staticmethod
    def parse_constant(text: str) -> object:
        raise ValueError(f"{text} is no JSON")


def _parts() -> tuple[Callable[[str, int], tuple[Any, int]], Callable[[object, int], tuple[str, ...]]]:
    try:
        from _json import encode_basestring_ascii, make_encoder, make_scanner
    except ImportError:
        return _plain_parts()
    # Arguments: cycles seen, default, string encoder, indent, separators, sort keys, skip keys, allow NaN.
    encoder = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)  # noqa: FBT003
    return make_scanner(_Rules), encoder  # type: ignore[arg-type]


def _plain_parts() -> tuple[Callable[[str, int], tuple[Any, int]], Callable[[object, int], tuple[str, ...]]]:
    """Return the same from what `json` has in Python."""
    from json import JSONEncoder, decoder
    from json.scanner import py_make_scanner  # type: ignore[attr-defined]

    class Rules(_Rules):
        parse_object = staticmethod(decoder.JSONObject)  # type: ignore[attr-defined]
        parse_array = staticmethod(decoder.JSONArray)  # type: ignore[attr-defined]
        parse_string = staticmethod(decoder.scanstring)  # type: ignore[attr-defined]

    plain = JSONEncoder(separators=(",", ":"), allow_nan=False)
    return py_make_scanner(Rules), lambda value, _level: (plain.encode(value),)


def _refuse(value: object) -> object:
    raise TypeError(f"a {type(value).__name__} is no JSON")


_scan, _encode = _parts()


def parse(data: bytes) -> object:
    """Return the one value that data holds; ValueError when it is not exactly one."""
    text = data.decode().strip(WHITE_SPACE)
    try:
        value, end = _scan(text, 0)
    except StopIteration as stop:
        raise ValueError(f"expected a value at character {stop.value}") from None
    except SystemError:
        # Up to Python 3.11 the scanner says what is wrong only where somebody has imported json.decoder.
        raise ValueError("a string has a control character or a wrong escape, or is not closed") from None
    if end != len(text):
        raise ValueError(f"expected nothing more at character {end}")
    return value


def line(value: object) -> bytes:
    """Return value as compact JSON with a newline."""
    return "".join((*_encode(value, 0), "\n")).encode("ascii")
