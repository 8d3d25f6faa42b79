"""What the command line promises, as data: compat/flags.json is written from here. Cold path."""

from __future__ import annotations

import json
import os

from stratovirt.compat.draft import (
    backend_words,
    drivers,
    field_at,
    fields_taken,
    idle_drivers,
    objects,
    transport_of,
)
from stratovirt.compat.registry import flags
from stratovirt.compat.syntax import doc_of, driver_syntax, object_syntax, syntax_of
from stratovirt.paths import room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from stratovirt.compat.registry import Flag
    from stratovirt.devices.device import Device

    Entry = dict[str, object]

WITHOUT_EFFECT: dict[str, object] = {"status": "ignored", "doc": "Without effect"}
OCCURS = {"none": "once", "one": "once", "optional": "once", "many": "repeated", "words": "repeated"}


def projections() -> dict[str, str]:
    """Return the generated files: path from the top of the project, and text."""
    contract = {
        "flags": {f"-{item.name}": _flag(item) for item in flags().values()},
        "drivers": {name: _driver(kind, record, name) for name, (kind, record) in drivers().items()}
        | {name: _idle_driver(keys) for name, keys in idle_drivers().items()},
        "objects": {word: _object(kind, record, word) for word, (kind, record) in objects().items()},
    }
    return {"compat/flags.json": json.dumps(contract, indent=2) + "\n"}


def _flag(item: Flag) -> Entry:
    entry: Entry = {"status": "refused" if item.refused else "yes", "doc": doc_of(item)}
    if item.short:
        entry["short"] = f"-{item.short}"
    entry["occurs"] = OCCURS[item.takes]
    if syntax_of(item):
        entry["value"] = syntax_of(item)
    if item.to:
        entry["document"] = item.to
    keys = _keys(item)
    if keys:
        entry["keys"] = keys
    if item.record is not None and item.record.idle_items:
        entry["ignored"] = sorted(item.record.idle_items)
    return entry


def _keys(item: Flag) -> dict[str, Entry]:
    if item.record is None:
        said: dict[str, Entry] = {
            key: {"document": to, "doc": field_at(to).doc} for key, to in item.keys.items()
        }
        return said | {key: _idle(values) for key, values in item.idle.items()}
    record = item.record
    table = _table_of(record)
    keys: dict[str, Entry] = {}
    if record.named and record.id_key:
        keys[record.id_key] = {"document": f"{table}.NAME", "doc": "Name of the table"}
    return {**keys, **dict(_fields(table, record, ""))}


def _driver(kind: str, record: type[Device], driver: str) -> Entry:
    keys: dict[str, Entry] = {}
    table = _table_of(record)
    if record.reference:
        keys[record.reference] = {
            "document": table,
            "doc": f"The -{backend_words(record)} that stands behind it",
        }
    if record.device_id == "ignored":
        keys["id"] = {"status": "ignored", "doc": f"The device is called as its -{backend_words(record)} is"}
    elif record.named and (record.device_id or not record.reference):
        keys["id"] = {"document": f"{table}.NAME", "doc": "Name of the table"}
    keys.update(_fields(table, record, "device"))
    for name, rate in record.rates.items():
        keys.update({key: {"document": f"{table}.{name}", "doc": doc} for key, doc in rate})
    if transport_of(record, driver) == "mmio":
        keys = {key: entry for key, entry in keys.items() if key not in {"bus", "addr"}}
    return {"status": "yes", "document": kind, "value": driver_syntax(record, driver), "keys": keys}


def _idle(values: tuple[str, ...]) -> Entry:
    return WITHOUT_EFFECT if not values else {**WITHOUT_EFFECT, "values": list(values)}


def _idle_driver(keys: tuple[str, ...]) -> Entry:
    return {**WITHOUT_EFFECT, "keys": dict.fromkeys(keys, WITHOUT_EFFECT)}


def _object(kind: str, record: type[Device], word: str) -> Entry:
    table = _table_of(record)
    keys: dict[str, Entry] = {"id": {"document": table, "doc": "What a -device or a key refers to"}}
    for key, name in record.objects[word].items():
        keys[key] = {"document": f"{table}.{name}", "doc": record.fields[name].doc}
    return {"status": "yes", "document": kind, "value": object_syntax(record, word), "keys": keys}


def _fields(table: str, record: type[Device], on: str) -> Iterator[tuple[str, Entry]]:
    for field in fields_taken(record, on):
        entry: Entry = {"document": f"{table}.{field.name}", "doc": field.doc}
        others = [word for word, key in record.aliases.items() if key == field.key]
        if others and not on:
            entry["also"] = others
        yield "" if field.name == record.word else field.key, entry
    for key, values in record.idle_words.get(on, {}).items():
        yield key, _idle(values)


def _table_of(record: type[Device]) -> str:
    from stratovirt import devices

    kind = next(kind for kind, known in devices.tables().items() if known is record)
    return f"{kind}.NAME" if record.named else kind


def write(root: str) -> None:
    """Write the generated files below the top of the project."""
    for path, text in projections().items():
        with open(f"{root}/{path}", "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    write(os.path.dirname(room("compat")))
