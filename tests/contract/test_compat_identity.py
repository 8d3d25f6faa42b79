"""Any document that flags can say comes back from its flags as it was, the order of its devices included."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stratovirt import devices
from stratovirt.compat.draft import drivers, fields_on
from stratovirt.compat.translate import translate
from stratovirt.compat.write import to_flags
from stratovirt.document.vm import Vm
from stratovirt.load import load
from stratovirt.units import MIB

if TYPE_CHECKING:
    from typing import Any

    from stratovirt.devices.device import Device
    from stratovirt.record import Field

    Document = dict[str, Any]

NAMES = st.from_regex(r"\A[a-z0-9_][a-zA-Z0-9_.:@+-]{0,8}\Z")
LINES = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters=',="\x7f'),
    min_size=1,
    max_size=20,
)
PATHS = LINES.map("/".__add__)
MACS = st.from_regex(r"\A[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}\Z")
TEXTS = {"name": NAMES, "mac": MACS, "line": LINES}
RUNS: list[dict[str, object]] = [
    {},
    {"log": {}, "process": {"freeze": True}},
    {"log": {"file": "/log"}, "process": {"seccomp": False}},
    {"process": {"daemonize": True, "pidfile": "/pid"}},
]
# Slots are dealt out one by one, an I/O thread that is named exists: not for the field to choose.
DEALT = {"bus", "addr", "iothread", "unit", "attach", "tag"}


def values(field: Field) -> st.SearchStrategy[object]:
    """Return what a field can hold and a flag can say."""
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "text": TEXTS.get(field.pattern, LINES),
        "path": PATHS,
        "integer": st.integers(field.minimum, field.maximum if field.maximum is not None else 2**31 - 1),
        "integers": st.lists(st.integers(3, 1000), min_size=1, max_size=4),
        "flag": st.booleans(),
        "switch": st.booleans(),
        "choice": st.sampled_from(field.choices or ("",)),
    }
    return kinds[field.kind]


def tables(record: type[Device]) -> st.SearchStrategy[Document]:
    """Return data for one table of a record: what it needs, and anything it may have."""
    fields = [
        field for on in ("", "device", "lender") for field in fields_on(record, on) if field.name not in DEALT
    ]
    required = {field.name: values(field) for field in fields if field.required}
    optional = {field.name: values(field) for field in fields if not field.required}
    return st.fixed_dictionaries(required, optional=optional)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    standard = draw(st.booleans())
    document: Document = {
        "version": 1,
        "name": draw(LINES.filter(dashless)),
        "uuid": str(draw(st.uuids())),
        "machine": {"type": "standard_vm" if standard else "microvm"},
        "cpu": {"count": draw(st.integers(1, 254))},
        "memory": draw(memories()),
        "boot": {"kernel": draw(PATHS), "initrd": draw(PATHS), "cmdline": draw(LINES.filter(dashless))},
        "qmp": {"socket": draw(PATHS)},
        **draw(st.sampled_from(RUNS)),
        "iothread": {name: {} for name in draw(st.lists(NAMES, max_size=3, unique=True))},
    }
    names = draw(st.lists(NAMES, min_size=14, max_size=14, unique=True))
    for kind, most in (("drive", 3), ("net", 3), ("console", 3), ("fs", 2)):
        listed = draw(st.lists(tables(devices.tables()[kind]), max_size=most))
        document[kind] = {names.pop(): table for table in listed}
    for kind in ("balloon", "vsock", "rng"):
        if draw(st.booleans()):
            document[kind] = draw(tables(devices.tables()[kind])) | {"id": names.pop()}
    finish(draw, document, standard=standard)
    return document


def dashless(text: str) -> bool:
    return not text.startswith("-")


def memories() -> st.SearchStrategy[Document]:
    optional = {name: st.booleans() for name in ("share", "dump_guest_core", "prealloc")} | {"path": PATHS}
    return st.fixed_dictionaries({"size": st.integers(256, 524288).map(MIB.__mul__)}, optional=optional)


def finish(draw: st.DrawFn, document: Document, *, standard: bool) -> None:
    """Deal out what one device takes from another: I/O threads, taps, slots on the bus."""
    slots = iter(range(1, 32))
    threads: list[str] = list(document["iothread"])
    for kind in ("drive", "net"):
        for number, table in enumerate(document[kind].values()):
            table["attach"] = draw(st.booleans())
            if not table["attach"]:
                table.pop("queues", None)
            elif threads:
                table["iothread"] = draw(st.sampled_from(threads))
            if kind == "net":
                table["tap"] = f"tap{number}"
                table["mac"] = f"52:54:00:00:00:{number:02x}"
                pair_descriptors(table)
            else:
                table["file"] = f"{table['file']}.{number}"
    for number, table in enumerate(document["console"].values()):
        table["path"] = f"/c{number}{table['path']}"
    for number, table in enumerate(document["fs"].values()):
        table["socket"] = f"/f{number}{table['socket']}"
        table["tag"] = f"tag {number}"
    if not standard:
        return
    tables_on_bus = [
        table for kind in ("drive", "net") for table in document[kind].values() if table["attach"]
    ]
    tables_on_bus += document["fs"].values()
    tables_on_bus += [document[kind] for kind in ("balloon", "vsock") if kind in document]
    for table in tables_on_bus:
        table |= {"bus": "pcie.0", "addr": f"{next(slots):#x}.0x0"}
    document["root_port"] = {
        "pcie.1": {"port": draw(st.integers(0, 255)), "bus": "pcie.0", "addr": hex(next(slots))}
    }
    document["pflash"] = {
        "code": {"file": "/c", "unit": 0, "readonly": True},
        "data": {"file": "/d", "unit": 1},
    }


def pair_descriptors(table: Document) -> None:
    """Give a card one vhost descriptor for each pair of queues, of which it has as many as descriptors."""
    if table.get("fds"):
        table.pop("queues", None)
    if table.get("vhostfds"):
        pairs = len(table.get("fds", ())) or table.get("queues", 1)
        table["vhostfds"] = list(range(600, 600 + pairs))


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # shrinking a document takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
@given(documents())
def test_document_to_flags_to_document_is_the_identity(data: Document) -> None:
    vm = load(Vm, data, [])
    assert vm is not None

    again = translate(to_flags(vm, arch="x86_64"), arch="x86_64")

    assert json.dumps(again.to_data(), indent=1) == json.dumps(vm.to_data(), indent=1)


def test_the_generator_knows_every_driver() -> None:
    """A new device has to be dealt with above."""
    kinds = {kind for kind, record in drivers().values() if record.drivers}

    assert kinds == {"drive", "net", "fs", "balloon", "vsock", "root_port"}
