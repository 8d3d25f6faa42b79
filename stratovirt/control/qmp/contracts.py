"""What QMP promises, as data: compat/qmp.json is written from here. Cold path."""

from __future__ import annotations

import json
import os

from stratovirt.control.qmp import absent
from stratovirt.control.qmp.commands import queries
from stratovirt.control.qmp.events import EVENTS
from stratovirt.control.qmp.registry import COMMANDS
from stratovirt.paths import room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.record import Field, Record

    Entry = dict[str, object]

_TYPES = {
    "text": "string",
    "path": "string",
    "choice": "string",
    "integer": "integer",
    "size": "integer",
    "flag": "boolean",
    "switch": "boolean or string",
    "count": "integer or string",
    "table": "object",
}


def projections() -> dict[str, str]:
    """Return the generated files: path from the top of the project, and text."""
    contract = {
        "greeting": {"version": queries.VERSION, "capabilities": []},
        "commands": dict(sorted((_present() | _absent()).items())),
        "events": {item.event: _described(item.__doc__ or "", "data", item) for item in EVENTS},
    }
    return {"compat/qmp.json": json.dumps(contract, indent=2) + "\n"}


def _present() -> dict[str, Entry]:
    return {name: _described(item.doc, "arguments", item.arguments) for name, item in COMMANDS.items()}


def _absent() -> dict[str, Entry]:
    return {
        name: {"status": status, "doc": f"{reason[0].upper()}{reason[1:]}."}
        for name, (status, reason) in absent.table().items()
    }


def _described(doc: str, member: str, record: type[Record]) -> Entry:
    entry: Entry = {"status": "done", "doc": doc}
    members = _members(record)
    if members:
        entry[member] = members
    return entry


def _members(record: type[Record]) -> Entry:
    return {field.key: _member(field) for field in record.fields.values()}


def _member(field: Field) -> Entry:
    entry: Entry = {"type": _TYPES[field.kind], "required": field.required, "doc": field.doc}
    if field.choices:
        entry["choices"] = list(field.choices)
    if field.record is not None:
        entry["members"] = _members(field.record)
    return entry


def write(root: str) -> None:
    """Write the generated files below the top of the project."""
    for path, text in projections().items():
        with open(f"{root}/{path}", "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    write(os.path.dirname(room("compat")))
