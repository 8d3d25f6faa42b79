"""Documents as text: canonical order, defaults left out. What is written loads as the same document."""

from __future__ import annotations

import io
import json

from stratovirt.errors import StratovirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from stratovirt.document.vm import Vm
    from stratovirt.record import Path

FORMATS = ("toml", "yaml", "json")
_BREAKS = frozenset("\x85\u2028\u2029")  # YAML 1.2, 5.4: line breaks of YAML 1.1
_NOT_IN_YAML = {*map(chr, range(0x7F, 0xA0)), "\ufffe", "\uffff"} | _BREAKS  # 5.1, and what ends lines
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def dump(vm: Vm, language: str) -> str:
    """Return the document in "toml", "yaml" or "json"; StratovirtError: it has what none can hold."""
    data = vm.to_data()
    _check_text((), data)
    if language == "json":
        return escape(json.dumps(data, indent=2, ensure_ascii=False)) + "\n"
    if language == "yaml":
        return _yaml(data)
    return "\n".join(_toml_table((), data)).lstrip("\n") + "\n"


def _check_text(path: Path, value: Any) -> None:
    """Refuse the bytes of a file name that are no UTF-8: a profile is."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_text((*path, key), item)
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            name = value.encode("utf-8", "backslashreplace").decode()
            raise StratovirtError(
                f"{'.'.join(path)} is {name}, which is not UTF-8", hint="rename the file: a profile is UTF-8"
            ) from None


def assignments(vm: Vm) -> dict[str, str]:
    """Return the document flat: dotted keys, with values as TOML writes them; defaults are left out."""
    return dict(_flat((), vm.to_data()))


def _flat(path: Path, data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        place = (*path, key)
        if isinstance(value, dict) and value:
            yield from _flat(place, value)
        else:
            yield ".".join(map(_toml_key, place)), "{}" if isinstance(value, dict) else _toml_value(value)


def _yaml(data: dict[str, Any]) -> str:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096  # a command line stays on its line
    out = io.StringIO()
    yaml.dump(_quoted(data), out)
    return out.getvalue()


def _quoted(value: Any) -> Any:
    """Return the data with those texts in quotes that YAML would read as several lines."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, dict):
        return {key: _quoted(item) for key, item in value.items()}
    if isinstance(value, str) and _BREAKS & set(value):
        return DoubleQuotedScalarString(value)
    return value


def _toml_table(path: Path, data: dict[str, Any]) -> Iterator[str]:
    plain = {key: value for key, value in data.items() if not isinstance(value, dict)}
    inner = {key: value for key, value in data.items() if isinstance(value, dict)}
    if path and (plain or not inner):
        yield ""
        yield f"[{'.'.join(_toml_key(part) for part in path)}]"
    for key, value in plain.items():
        yield f"{_toml_key(key)} = {_toml_value(value)}"
    for key, value in inner.items():
        yield from _toml_table((*path, key), value)


def _toml_key(key: str) -> str:
    return key if key and _BARE.issuperset(key) else json.dumps(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    if isinstance(value, str):
        return escape(json.dumps(value, ensure_ascii=False))  # TOML's basic strings are JSON's
    return str(value)


def escape(text: str) -> str:
    """Escape letters that JSON may hold as they are and YAML may not; TOML knows the same escapes."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(f"\\u{ord(letter):04x}" if letter in _NOT_IN_YAML else letter for letter in text)
