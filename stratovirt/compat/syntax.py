"""How flags are written, made from the registry and the records, for help.py and contracts.py. Cold path."""

from __future__ import annotations

from stratovirt.compat.draft import field_at, fields_on, fields_taken, transport_of
from stratovirt.devices.device import LISTENING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.compat.registry import Flag
    from stratovirt.devices.device import Device
    from stratovirt.record import Field

VALUES = {
    "path": "PATH",
    "integer": "N",
    "integers": "N[:N]...",
    "size": "SIZE",
    "flag": "on|off",
    "switch": "on|off",
}
TEXTS = {"name": "NAME", "mac": "XX:XX:XX:XX:XX:XX", "pci": "SLOT.FUNCTION"}


def syntax_of(item: Flag) -> str:
    """Return what stands after the flag."""
    if item.record is not None:
        return option_syntax(item.record)
    if item.keys:
        words = (_item(key, field_at(to)) for key, to in item.keys.items())
        first, *rest = words
        return f"[{item.word}=]{first.partition('=')[2]}" + "".join(f"[,{word}]" for word in rest)
    return item.syntax


def doc_of(item: Flag) -> str:
    """Return what the flag is for, in one line."""
    if item.read.__doc__:
        return _first_line(item.read.__doc__)
    if item.record is not None:
        return _first_line(item.record.__doc__ or "")
    return f"{field_at(item.to).doc}."


def option_syntax(record: type[Device]) -> str:
    """Return the list of a device's own flag."""
    items = [(f"{record.id_key}=NAME", True)] if record.named and record.id_key else []
    for field in fields_on(record, ""):
        bare = field.name == record.word
        text = _value(field, record) if bare else _item(field.key, field, record)
        items.append((text, bare or field.required))
    before = "".join(f"[{word},]" for word in sorted(record.idle_items - LISTENING))
    after = "[,server][,nowait]" if record.idle_items & LISTENING else ""
    return before + _joined(items) + after


def driver_syntax(record: type[Device], driver: str) -> str:
    """Return the list of -device for one driver."""
    transport = transport_of(record, driver)
    items = [(driver, True)]
    if record.reference:
        items.append((f"{record.reference}=ID", True))
    if record.device_id or (record.named and not record.reference):
        items.append(("id=NAME", not record.reference))
    for field in fields_taken(record, "device"):
        if field.name not in {"bus", "addr"}:
            items.append((_item(field.key, field, record), field.required))
        elif transport == "pci":
            items.append((_item(field.key, field, record), True))
    items += [(f"{amount}=N,{period}=MS", False) for (amount, _), (period, _) in record.rates.values()]
    return _joined(items)


def idle_driver_syntax(driver: str, keys: tuple[str, ...]) -> str:
    """Return the list of -device for a driver that says nothing."""
    return _joined([(driver, True), *((f"{key}=...", False) for key in keys)])


def object_syntax(record: type[Device], word: str) -> str:
    """Return the list of -object for one type."""
    fields = ((key, record.fields[name]) for key, name in record.objects[word].items())
    return ",".join([word, "id=NAME", *(_item(key, field, record) for key, field in fields)])


def _joined(items: list[tuple[str, bool]]) -> str:
    """Join what is needed, then in brackets what may be left out."""
    needed = ",".join(text for text, required in items if required)
    free = [text for text, required in items if not required]
    if needed:
        return needed + "".join(f"[,{text}]" for text in free)
    return ",".join(f"[{text}]" for text in free)


def _item(key: str, field: Field, record: type[Device] | None = None) -> str:
    return f"{key}={_value(field, record)}"


def _value(field: Field, record: type[Device] | None) -> str:
    if field.kind == "choice":
        return "|".join(field.choices)
    if field.kind == "text":
        return TEXTS.get(field.pattern, "TEXT")
    if record is not None and field.name in record.hexadecimal:
        return "0xN"
    return VALUES[field.kind]


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
