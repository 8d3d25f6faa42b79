"""Documents as text: canonical order, defaults left out. What is written loads as the same document."""

from __future__ import annotations

import io
import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from stratovirt.document.vm import Vm
    from stratovirt.record import Path

FORMATS = ("toml", "yaml", "json")
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def dump(vm: Vm, language: str) -> str:
    """Return the document in "toml", "yaml" or "json"."""
    data = vm.to_data()
    if language == "json":
        return _escape_delete(json.dumps(data, indent=2, ensure_ascii=False)) + "\n"
    if language == "yaml":
        return _yaml(data)
    return "\n".join(_toml_table((), data)).lstrip("\n") + "\n"


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
    yaml.dump(data, out)
    return out.getvalue()


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
        return _escape_delete(json.dumps(value, ensure_ascii=False))  # TOML's basic strings are JSON's
    return str(value)


def _escape_delete(text: str) -> str:
    """Escape DEL, which JSON may hold as it is and TOML and YAML may not."""
    return text.replace("\x7f", "\\u007f")
