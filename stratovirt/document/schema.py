"""The committed JSON Schemas, and what the jsonschema library says by them. Cold."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from stratovirt.document.loader import parse
from stratovirt.errors import UsageError
from stratovirt.paths import room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stratovirt.document.loader import Source

    Schema = dict[str, Any]


def path_of(table: str) -> Path:
    """Return the file of a schema: the root's for "" or "vm", else a device table's."""
    folder = Path(room("schemas"))
    path = folder / "vm.schema.json" if table in {"", "vm"} else folder / "device" / f"{table}.schema.json"
    if not path.is_file():
        known = ", ".join(sorted(file.name.partition(".")[0] for file in (folder / "device").glob("*.json")))
        raise UsageError(f"there is no schema for '{table}'", hint=f"known: vm, {known}")
    return path


def bundled() -> Schema:
    """Return the root schema with the device schemas put in where it refers to them."""
    schema: Schema = _resolved(json.loads(path_of("").read_text()))
    return schema


def _resolved(node: Any) -> Any:
    if isinstance(node, list):
        return [_resolved(item) for item in node]
    if not isinstance(node, dict):
        return node
    reference = node.get("$ref")
    if isinstance(reference, str):
        inner = json.loads((path_of("").parent / reference).read_text())
        inner.pop("$schema", None)
        return _resolved(inner)
    if isinstance(node.get("pattern"), str):
        node["pattern"] = _whole(node["pattern"])
    if "patternProperties" in node:
        node["patternProperties"] = {_whole(key): value for key, value in node["patternProperties"].items()}
    return {key: _resolved(value) for key, value in node.items()}


def _whole(pattern: str) -> str:
    """Make `$` mean the very end: Python's also stands before a last newline, ECMA 262's does not."""
    return pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern


def validator() -> Any:
    """Return a validator; that the schemas are schemas is checked by the tests, not at each run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from jsonschema import Draft7Validator

    return Draft7Validator(bundled())


def errors_of(source: Source) -> list[str]:
    """Return what jsonschema has against a profile."""
    data, findings = parse(source)
    return [error.message for error in validator().iter_errors(data)] if not findings else []
