"""The flags of devices, made from the device records: a new device module needs no word here."""

from __future__ import annotations

from stratovirt import devices
from stratovirt.compat.draft import (
    backend_words,
    drivers,
    fields_on,
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

    Rate = tuple[tuple[str, str], tuple[str, str]]


def _take(record: type[Device], on: str, keys: KeyVal) -> Data:
    data: Data = {}
    for field in fields_taken(record, on):
        text = keys.word() if field.name == record.word else keys.take(field.key)
        if text is not None:
            reader = hexadecimal if field.name in record.hexadecimal else READERS[field.kind]
            data[field.name] = reader(field.key, text)
    keys.take_idle(record.idle_words.get(on, {}))
    for name, rate in record.rates.items() if on == "device" else ():
        _take_rate(record.fields[name], rate, keys, data)
    return data


def _take_rate(field: Field, rate: Rate, keys: KeyVal, data: Data) -> None:
    """Take an amount and its milliseconds as a field that is so much each second."""
    (amount_key, _), (period_key, _) = rate
    amount, period = keys.take(amount_key), keys.take(period_key)
    if amount is None and period is None:
        return
    if amount is None:
        raise UsageError(f"'{amount_key}' is missing", hint=f"write it beside {period_key}")
    if period is None:
        raise UsageError(f"'{period_key}' is missing", hint=f"write it beside {amount_key}")
    milliseconds = integer(period_key, period)
    if not milliseconds:
        raise UsageError(f"{period_key} is 0, and counts milliseconds", hint=f"write {period_key}=1000")
    value = integer(amount_key, amount) * 1000 // milliseconds
    if not (field.minimum or 0) <= value <= (field.maximum or value):
        said = f"{amount_key}={amount} with {period_key}={period}"
        raise UsageError(f"{said} is {value} each second, not in {field.minimum}..{field.maximum}")
    data[field.name] = value


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
    word = keys.word() or ""
    known = objects()
    if word not in known:
        raise _unknown(word, "object", "type", list(known))
    kind, record = known[word]
    name = keys.take("id")
    data: Data = {}
    for key, field in record.objects[word].items():
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
    known = drivers()
    if driver not in known:
        _take_idle_driver(driver, keys, list(known))
        return
    kind, record = known[driver]
    reference = keys.take(record.reference) if record.reference else None
    name = keys.take("id") if "id" not in record.fields else None
    data = _take(record, "device", keys)
    keys.done()
    _check_whole(record, data)
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


def _check_whole(record: type[Device], data: Data) -> None:
    """Refuse a -device without what it has to say of a backend that another flag describes."""
    for field in fields_on(record, "device"):
        if record.reference and field.required and field.name not in data:
            raise UsageError(f"'{field.key}' is missing", hint=f"write {field.key}=...")


def _take_idle_driver(driver: str, keys: KeyVal, known: list[str]) -> None:
    """Take the keys of a driver that says nothing; UsageError when there is no such driver at all."""
    idle = idle_drivers()
    if driver not in idle:
        raise _unknown(driver, "device", "driver", [*known, *idle])
    keys.take_idle(dict.fromkeys(idle[driver], ()))
    keys.done()


def _unknown(word: str, what: str, role: str, known: list[str]) -> UsageError:
    """Return what to say of a word that names no `what`; its `role` in the flag is a driver or a type."""
    hint = f"known {role}s: {', '.join(known)}"
    if not word:
        return UsageError(f"no {role} is named", hint)
    return UsageError(f'Unsupported {what}: "{word}"{guess(word, known)}', hint)


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
    flag = backend_words(record)
    if draft.is_attached(flag, reference):
        draft.refuse(f"{record.reference}={reference} is attached already")
        return
    draft.borrow(kind, reference)
    backend = draft.backends.get(kind, {}).get(reference)
    if backend is None:
        known = ", ".join(draft.backends.get(record.lender or kind, {})) or "none"
        draft.dangling.add(kind)
        draft.refuse(f"there is no -{flag} with id={reference}", f"ids of -{flag}: {known}")
    else:
        table = draft.attached.setdefault(kind, {})[reference] = name or reference
        place = (kind, table) if record.named else (kind,)
        for key in data.keys() & backend.data.keys():
            if not _same(record.fields[key], data[key], backend.data[key]):
                draft.refuse(f"{key} is {data[key]}, and {backend.data[key]} in {backend.origin}")
        backend.data.update(data)
        draft.frontends[place] = draft.origin
        draft.origins.update({(*place, key): draft.origin for key in data})
