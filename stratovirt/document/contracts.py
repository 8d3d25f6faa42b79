"""Writes schemas/ from the records. `python -m stratovirt.document.contracts --check` only compares.

Draft-07, with nothing that Draft 4 does not know: TOML editors read schemas as Draft 4.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from stratovirt import devices
from stratovirt.document.vm import Vm
from stratovirt.paths import room
from stratovirt.record import PATTERNS, SIZE_PATTERN, default_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stratovirt.record import Field, Record

    Schema = dict[str, object]

DRAFT = "http://json-schema.org/draft-07/schema#"


def projections() -> dict[str, str]:
    """Return the generated files: path below schemas/ and text."""
    files = {"vm.schema.json": _root()}
    for name, record in devices.tables().items():
        files[f"device/{name}.schema.json"] = {"$schema": DRAFT, **_record(record, title=name)}
    return {path: json.dumps(schema, indent=2) + "\n" for path, schema in files.items()}


def _root() -> Schema:
    schema = _record(Vm, title="StratoVirt machine")
    properties = schema["properties"]
    assert isinstance(properties, dict)
    for name, record in devices.tables().items():
        reference: Schema = {"$ref": f"device/{name}.schema.json"}
        properties[name] = _named(reference, _first_line(record)) if record.named else reference
    properties["$schema"] = {"type": "string", "description": "Schema of this file, for editors; not read"}
    return {"$schema": DRAFT, **schema}


def _record(record: type[Record], title: str) -> Schema:
    schema: Schema = {
        "title": title,
        "description": _first_line(record),
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _field(field) for name, field in record.fields.items()},
    }
    required = [name for name, field in record.fields.items() if field.required]
    if required:
        schema["required"] = required
    return schema


def _field(field: Field) -> Schema:
    schema: Schema = {"description": field.doc, **_type(field)}
    if not field.required and field.kind not in {"table", "tables"}:
        default = default_of(field)
        if default is not None:
            schema["default"] = list(default) if isinstance(default, tuple) else default
    return schema


def _type(field: Field) -> Schema:
    if field.record is not None:
        inner = _record(field.record, title=field.name)
        return inner if field.kind == "table" else _named(inner, field.doc)
    return _TYPES[field.kind](field)


def _text(field: Field) -> Schema:
    schema: Schema = {"type": "string"}
    if field.max_length is not None:
        schema["maxLength"] = field.max_length
    if field.pattern:
        schema["pattern"] = PATTERNS[field.pattern][0]
    return schema


def _integer(field: Field) -> Schema:
    schema: Schema = {"type": "integer"}
    if field.minimum is not None:
        schema["minimum"] = field.minimum
    if field.maximum is not None:
        schema["maximum"] = field.maximum
    return schema


def _size(_field: Field) -> Schema:
    return {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": SIZE_PATTERN}]}


def _choice(field: Field) -> Schema:
    return {"type": "string", "enum": list(field.choices)}


_TYPES: dict[str, Callable[[Field], Schema]] = {
    "text": _text,
    "path": _text,
    "integer": _integer,
    "integers": lambda field: {"type": "array", "items": _integer(field)},
    "size": _size,
    "flag": lambda _field: {"type": "boolean"},
    "choice": _choice,
    "switch": lambda field: {"anyOf": [{"type": "boolean"}, _choice(field)]},
}


def _named(inner: Schema, description: str) -> Schema:
    return {
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {PATTERNS["name"][0]: inner},
    }


def _first_line(record: type[Record]) -> str:
    return (record.__doc__ or "").strip().splitlines()[0]


def main(arguments: list[str]) -> int:
    """Write the files, or with --check tell which differ."""
    folder = Path(room("schemas"))
    stale = [name for name, text in projections().items() if _text_of(folder / name) != text]
    if "--check" in arguments:
        for name in stale:
            sys.stderr.write(f"schemas/{name} is not what the records say; run `make contracts`\n")
        return 1 if stale else 0
    for name in stale:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(projections()[name])
    return 0


def _text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
