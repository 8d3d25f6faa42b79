"""The flags of devices, made from the device records: a new device module needs no word here."""

from __future__ import annotations

from stratovirt import devices
from stratovirt.compat.draft import (
    backend_flag,
    drivers,
    fields_taken,
    idle_drivers,
    objects,
    transport_of,
)
from stratovirt.compat.keyval import READERS, KeyVal, guess, hexadecimal, integer
from stratovirt.compat.registry import flag
from stratovirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.compat.draft import Data, Draft
    from stratovirt.devices.device import Device
    from stratovirt.record import Field


_UNSUPPORTED = {"driver": "device", "type": "object"}  # what it would have been


def _take(record: type[Device], on: str, keys: KeyVal) -> Data:
    data: Data = {}
    for field in fields_taken(record, on):
        text = keys.word() if field.name == record.word else keys.take(field.key)
        if text is not None:
            reader = hexadecimal if field.name in record.hexadecimal else READERS[field.kind]
            data[field.name] = reader(field.key, text)
    for key, values in record.idle_words.get(on, {}).items():
        text = keys.take(key)
        if text is not None and values and text not in values:
            raise UsageError(f"{key} is {text}, and can only be {' or '.join(values)}", "leave it out")
    for name, rate in record.rates.items() if on == "device" else ():
        _take_rate(name, rate, keys, data)
    return data


def _take_rate(name: str, rate: tuple[str, str], keys: KeyVal, data: Data) -> None:
    """Take an amount and its milliseconds as a field that is so much each second."""
    amount, period = ((key, keys.take(key)) for key in rate)
    if amount[1] is None and period[1] is None:
        return
    for (key, text), (other, _) in ((amount, period), (period, amount)):
        if text is None:
            raise UsageError(f"'{key}' is missing", hint=f"write it beside {other}")
    number, milliseconds = (integer(key, text or "") for key, text in (amount, period))
    if not milliseconds:
        raise UsageError(f"{period[0]} is 0, and counts milliseconds", hint=f"write {period[0]}=1000")
    data[name] = number * 1000 // milliseconds


def _register(kind: str, record: type[Device]) -> None:
    @flag(record.option, takes="many" if record.named else "one", record=record)
    def read(draft: Draft, text: str) -> None:
        keys = KeyVal(text, record.aliases, record.idle_items)
        name = keys.take(record.id_key) if record.named and record.id_key else ""
        data = _take(record, "", keys)
        if record.word == "ignored":
            keys.word()
        keys.done()
        if name is None:
            raise UsageError(f"'{record.id_key}' is missing", hint=f"write {record.id_key}=NAME")
        name = record.complete(name, data)
        if not record.named:
            draft.add_single(kind, data, draft.origin)
        else:
            _describe(draft, kind, name, data)


def _describe(draft: Draft, kind: str, name: str, data: Data) -> None:
    """Add a table, now or once it is known which -device refers to it."""
    if devices.tables()[kind].reference:
        draft.add_backend(kind, name, data)
    else:
        draft.add(kind, name, data, draft.origin)


for _kind, _record in devices.tables().items():
    if _record.option:
        _register(_kind, _record)


@flag("object", syntax="TYPE,id=NAME[,KEY=VALUE]...", takes="many")
def _object(draft: Draft, text: str) -> None:
    """An I/O thread or a source of random bytes, as later releases write them."""
    keys = KeyVal(text)
    word = keys.word()
    kind, record = _find(word, objects(), "type")
    name = keys.take("id")
    data: Data = {}
    for key, field in record.objects[word or ""].items():
        value = keys.take(key)
        if value is None:
            raise UsageError(f"'{key}' is missing", hint=f"write {key}=...")
        data[field] = READERS[record.fields[field].kind](key, value)
    keys.done()
    if name is None:
        raise UsageError("'id' is missing", hint="write id=NAME")
    _describe(draft, kind, name, data)


@flag("device", syntax="DRIVER[,KEY=VALUE]...", takes="many")
def _device(draft: Draft, text: str) -> None:
    """A device of the guest; each driver has its own keys."""
    keys = KeyVal(text)
    driver = keys.word() or ""
    if driver in idle_drivers():
        for key in idle_drivers()[driver]:
            keys.take(key)
        keys.done()
        return
    kind, record = _find(driver, drivers(), "driver")
    reference = keys.take(record.reference) if record.reference else None
    name = keys.take("id") if "id" not in record.fields else None
    data = _take(record, "device", keys)
    keys.done()
    _check_place(transport_of(record, driver), driver, data)
    if record.reference:
        if reference is None:
            raise UsageError(f"'{record.reference}' is missing", hint=f"write {record.reference}=ID")
        _attach(draft, kind, record, (reference, name if record.device_id == "name" else None, data))
    elif not record.named:
        draft.add_single(kind, data, draft.origin)
    elif name is None:
        raise UsageError("'id' is missing", hint="write id=NAME")
    else:
        draft.add(kind, name, data, draft.origin)


def _find(
    word: str | None, known: dict[str, tuple[str, type[Device]]], what: str
) -> tuple[str, type[Device]]:
    """Return table and record of a driver or a type; UsageError when there is no such word."""
    if word and word in known:
        return known[word]
    hint = f"known {what}s: {', '.join(known)}"
    if not word:
        raise UsageError(f"no {what} is named", hint)
    raise UsageError(f'Unsupported {_UNSUPPORTED[what]}: "{word}"{guess(word, list(known))}', hint)


def _check_place(transport: str, driver: str, data: Data) -> None:
    """Refuse a PCI place for a virtio-mmio device, and a PCI device without one."""
    for key in ("bus", "addr"):
        if transport == "mmio" and key in data:
            hint = f"take {key} out, or use the driver's -pci form"
            raise UsageError(f"virtio mmio device does not support {key} arguments", hint)
        if transport == "pci" and key not in data:
            hint = "write bus=pcie.0,addr=0x1.0x0"
            raise UsageError(f"'{key}' is missing: {driver} sits on a PCI bus", hint)


def _same(field: Field, value: object, other: object) -> bool:
    if field.pattern == "mac":
        return str(value).lower() == str(other).lower()
    return value == other


def _attach(draft: Draft, kind: str, record: type[Device], said: tuple[str, str | None, Data]) -> None:
    """Give a backend its place in the guest."""
    reference, name, data = said
    backend = draft.backends.get(kind, {}).get(reference)
    attached = draft.attached.setdefault(kind, {})
    if backend is None:
        known = ", ".join(draft.backends.get(kind, {})) or "none"
        flag = backend_flag(record)
        draft.refuse(f"there is no -{flag} with id={reference}", f"ids of -{flag}: {known}")
    elif reference in attached:
        draft.refuse(f"{record.reference}={reference} is attached already")
    else:
        table = attached[reference] = name or reference
        place = (kind, table) if record.named else (kind,)
        for key in data.keys() & backend.data.keys():
            if not _same(record.fields[key], data[key], backend.data[key]):
                draft.refuse(f"{key} is {data[key]}, and {backend.data[key]} in {backend.origin}")
        backend.data.update(data)
        draft.frontends[place] = draft.origin
        draft.origins.update({(*place, key): draft.origin for key in data})
