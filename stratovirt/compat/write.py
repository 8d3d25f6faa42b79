"""Document to flags: what translate() reads back as the same document. Cold path."""

from __future__ import annotations

import os

from stratovirt import devices
from stratovirt.compat.draft import field_at, fields_on, fields_taken
from stratovirt.compat.registry import flags
from stratovirt.errors import DocumentError
from stratovirt.record import default_of
from stratovirt.units import MIB, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.compat.registry import Flag
    from stratovirt.devices.device import Device
    from stratovirt.document.vm import Vm
    from stratovirt.record import Field, Path

UNSET = object()


def to_flags(vm: Vm, arch: str = "") -> list[str]:
    """Return the words of a command line, for a host of `arch`; DocumentError names what no flag can say."""
    host = arch or os.uname().machine
    if vm.machine.arch != host:
        raise _unsayable(("machine", "arch"), f"'{vm.machine.arch}', and flags mean the host's, {host}")
    if vm.qmp is None:
        raise DocumentError("flags always ask for a QMP socket", ("qmp",), "add [qmp] with socket = ...")
    _check_sections(vm)
    words: list[str] = []
    for item in flags().values():
        if item.keys:
            words += _say_keys(vm, item)
        elif item.to:
            words += _say_value(vm, item)
        elif item.record is not None:
            words += _say_devices(vm, item.record)
    for record in devices.tables().values():
        if not record.option:
            words += _say_devices(vm, record)
    return words


def _check_sections(vm: Vm) -> None:
    """Refuse what a table that is no device says and no flag could."""
    said = {place for item in flags().values() for place in (item.to, *item.keys.values())}
    said.add("machine.arch")
    for name, field in vm.fields.items():
        record = vm.__dict__[name]
        if field.kind != "table" or record is None or name in devices.tables():
            continue
        for key, inner in record.fields.items():
            value = record.__dict__[key]
            if f"{name}.{key}" not in said and value != default_of(inner):
                raise _unsayable((name, key), f"{value!r}, which a profile can say")


def _value_at(vm: Vm, to: str) -> object:
    """Return what the document says at a place like `cpu.count`; UNSET when it is the default."""
    table, _, key = to.rpartition(".")
    record = vm.__dict__[table] if table else vm
    if record is None:
        return UNSET
    value: object = record.__dict__[key]
    field = field_at(to)
    return UNSET if not field.required and value == default_of(field) else value


def _say_keys(vm: Vm, item: Flag) -> list[str]:
    said = {key: (to, _value_at(vm, to)) for key, to in item.keys.items()}
    items = [
        ("" if key == item.word else f"{key}=") + _say(field_at(to), value, tuple(to.split(".")))
        for key, (to, value) in said.items()
        if value is not UNSET
    ]
    return [f"-{item.name}", ",".join(items)] if items else []


def _say_value(vm: Vm, item: Flag) -> list[str]:
    value = _value_at(vm, item.to)
    place = tuple(item.to.split("."))
    word = f"-{item.name}"
    if value is UNSET:
        # A log without a file is a flag without a value.
        there = item.takes == "optional" and vm.__dict__[place[0]] is not None
        return [word] if there else []
    if item.takes == "none":
        return [word]
    text = _check_word(str(value), place)
    if item.name == "mem-path" and '"' in text:
        raise _unsayable(place, f"{text!r}, and -mem-path drops quotes")
    if item.name == "qmp":
        text = "unix:" + _check_item(text, place)
    return [word, text]


def _say_devices(vm: Vm, record: type[Device]) -> list[str]:
    kind = next(kind for kind, known in devices.tables().items() if known is record)
    value = vm.__dict__[kind]
    tables: dict[str, Device] = value if record.named else {} if value is None else {kind: value}
    words: list[str] = []
    taken: set[str] = set()
    for name, device in tables.items():
        backend, spoken = device.spoken(name)
        if backend != name and (backend in tables or backend in taken):
            backend, spoken = name, device
        taken.add(backend)
        place = (kind, name)
        _check_silent(device, place)
        words += _say_option(spoken, backend, place, attached=device.attached()) if record.option else []
        words += _say_loan(device, backend, place) if record.lender else []
        if record.drivers and device.attached():
            words += _say_frontend(device, backend, place)
        else:
            _check_detached(device, place)
    return words


def _say_option(device: Device, backend: str, place: Path, *, attached: bool) -> list[str]:
    items = [f"{device.id_key}={backend}"] if device.named and device.id_key else []
    fields = fields_on(type(device), "") if attached else fields_taken(type(device), "")
    items += _say_fields(device, fields, place)
    return [f"-{device.option}", ",".join(items)]


def _say_loan(device: Device, backend: str, place: Path) -> list[str]:
    lender = devices.tables()[device.lender]
    items = [f"{lender.id_key}={backend}"]
    for theirs, ours in device.lent.items():
        value = _say(device.fields[ours], device.__dict__[ours], (*place, ours))
        items.append(f"{lender.fields[theirs].key}={value}")
    return [f"-{lender.option}", ",".join(items)]


def _say_frontend(device: Device, backend: str, place: Path) -> list[str]:
    items = [next(driver for driver, transport in device.drivers.items() if transport == device.transport())]
    if device.reference:
        items.append(f"{device.reference}={backend}")
    if device.device_id == "name" or (device.named and not device.reference):
        items.append(f"id={place[-1]}")
    items += _say_fields(device, fields_on(type(device), "device"), place)
    return ["-device", ",".join(items)]


def _check_silent(device: Device, place: Path) -> None:
    for field in fields_on(type(device), "none"):
        value = device.__dict__[field.name]
        if field.name != "attach" and value != default_of(field):
            said = "set" if field.kind == "table" else repr(value)
            raise _unsayable((*place, field.name), f"{said}, which a profile can say")


def _check_detached(device: Device, place: Path) -> None:
    for field in fields_on(type(device), "device"):
        value = device.__dict__[field.name]
        on_option = field.also_on == ""  # said there: see _say_option
        if value != default_of(field) and not on_option:
            why = f"{value!r}, which stands on -device, and the {device.label} is not attached"
            raise _unsayable((*place, field.name), why)


def _say_fields(device: Device, fields: list[Field], place: Path) -> list[str]:
    items = []
    for field in fields:
        value = device.__dict__[field.name]
        bare = field.name == device.word
        if not bare and not field.required and value == default_of(field):
            continue
        text = hex(value) if field.name in device.hexadecimal else _say(field, value, (*place, field.name))
        items.append(text if bare else f"{field.key}={text}")
    return items


def _say(field: Field, value: object, place: Path) -> str:
    """Write a value as an item of a comma list."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if field.kind == "switch":
        raise _unsayable(place, f"'{value}', and the flag knows only on and off")
    if isinstance(value, tuple):
        return ":".join(str(number) for number in value)
    if field.kind == "size":
        return _say_memory(value, place)
    return _check_item(str(value), place)


def _say_memory(value: object, place: Path) -> str:
    assert isinstance(value, int)
    if value % MIB:
        raise _unsayable(place, f"{value} bytes, and flags count in whole MiB")
    return format_size(value)


def _check_item(text: str, place: Path) -> str:
    if not text or "," in text or text.endswith("="):
        raise _unsayable(
            place, f"{text!r}; a value on a flag has no comma, is not empty, does not end in '='"
        )
    return text


def _check_word(text: str, place: Path) -> str:
    if text.startswith("-"):
        raise _unsayable(place, f"{text!r}, and a value that begins with '-' is a flag")
    return text


def _unsayable(place: Path, why: str) -> DocumentError:
    return DocumentError(f"no flag can say {'.'.join(place)}: it is {why}", place)
