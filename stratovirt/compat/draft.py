"""The document while flags fill it: plain data, which flag said what, and what is wrong so far."""

from __future__ import annotations

from stratovirt import devices
from stratovirt.document.vm import VERSION, Vm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stratovirt.devices.device import Device
    from stratovirt.record import Field, Path

    Data = dict[str, object]

ORIGIN_LENGTH = 100  # characters of a flag that a message repeats


class Backend:
    """What a -device can refer to, like a `-drive`: its table is named once one does."""

    __slots__ = ("data", "origin")

    def __init__(self, data: Data, origin: str) -> None:
        self.data = data
        self.origin = origin


class Draft:
    """What the flags said so far."""

    def __init__(self, arch: str) -> None:
        self.data: dict[str, Data] = {"machine": {"arch": arch}}
        self.top: Data = {"version": VERSION}
        self.origins: dict[Path, str] = {}
        self.frontends: dict[Path, str] = {}  # which -device attached a table
        self.problems: list[tuple[str, str]] = []  # message and hint
        self.origin = ""  # the flag that is being read
        self.backends: dict[str, dict[str, Backend]] = {}  # by table, then by id, in order of their flags
        self.attached: dict[str, dict[str, str]] = {}  # by table: id to table name, as -device stands
        self.dangling: set[str] = set()  # tables of which a -device refers to what is not there

    def at(self, name: str, text: str) -> None:
        """Say which flag is being read from now on."""
        origin = f"-{name} {text}".rstrip().replace("\n", "\\n")
        self.origin = origin if len(origin) <= ORIGIN_LENGTH else f"{origin[:ORIGIN_LENGTH]}..."

    def put(self, to: str, value: object) -> None:
        """Set one key of the document, like `cpu.count`."""
        table, _, key = to.rpartition(".")
        if table:
            self.data.setdefault(table, {})[key] = value
            self.origins[(table, key)] = self.origin
        else:
            self.top[key] = value
            self.origins[(key,)] = self.origin

    def refuse(self, message: str, hint: str = "") -> None:
        """Note that what this flag says cannot be; the others are still read."""
        self.problems.append((f"{self.origin}: {message}", hint))

    def add(self, kind: str, name: str, data: Data, origin: str) -> None:
        """Add a table of a kind that has names."""
        tables = self.data.setdefault(kind, {})
        if name in tables:
            already = f"{kind} '{name}' is described already, by {self.origins[(kind, name)]}"
            self.problems.append((f"{origin}: {already}", ""))
            return
        tables[name] = data
        self.origins[(kind, name)] = origin

    def add_single(self, kind: str, data: Data, origin: str) -> None:
        """Add the table of a kind that a machine has one of."""
        if kind in self.data:
            already = f"a machine has one {kind} only, and {self.origins[(kind,)]} describes it already"
            self.problems.append((f"{origin}: {already}", ""))
            return
        self.data[kind] = data
        self.origins[(kind,)] = origin

    def add_backend(self, kind: str, name: str, data: Data) -> None:
        """Add what a -device can refer to."""
        known = self.backends.setdefault(kind, {})
        if name in known:
            self.refuse(f"id '{name}' is taken already, by {known[name].origin}")
            return
        known[name] = Backend(data, self.origin)

    def borrow(self, kind: str, reference: str) -> None:
        """Make what the flag of another table describes, and nothing else uses, a backend of this kind."""
        record = devices.tables()[kind]
        theirs = self.backends.get(record.lender, {})
        if reference in theirs and reference not in self.attached.get(record.lender, {}):
            backend = theirs.pop(reference)
            backend.data = {record.lent[key]: value for key, value in backend.data.items()}
            self.backends.setdefault(kind, {})[reference] = backend

    def is_attached(self, flag: str, reference: str) -> bool:
        """Tell whether a -device of any kind uses the backend of this id that the flag describes."""
        return any(
            backend_words(record) == flag and reference in self.attached.get(kind, {})
            for kind, record in devices.tables().items()
        )

    def finish(self) -> Data:
        """Name the tables of the backends; return the document as plain data."""
        for kind, known in self.backends.items():
            attached = self.attached.get(kind, {})
            # Attached ones stand in the order of their -device, in which the guest names them too.
            turn = iter(attached.items())
            for name in self._in_order(kind):
                if name in attached:
                    reference, table = next(turn)
                    self._add_attached(kind, table, known[reference])
                else:
                    self._add_alone(kind, name, known[name])
        return {**self.top, **self.data}

    def _in_order(self, kind: str) -> list[str]:
        """Return the ids of a kind: as the flags stand; those that need no -device follow the others."""
        known = list(self.backends[kind])
        if "attach" in devices.tables()[kind].fields:
            return known
        return sorted(known, key=lambda name: name not in self.attached.get(kind, {}))

    def _add_attached(self, kind: str, table: str, backend: Backend) -> None:
        if devices.tables()[kind].named:
            self.add(kind, table, backend.data, backend.origin)
        else:
            self.add_single(kind, backend.data, backend.origin)

    def _add_alone(self, kind: str, name: str, backend: Backend) -> None:
        """Add what no -device attaches: it is there without one, is described only, or has to have one."""
        record = devices.tables()[kind]
        if kind in self.dangling and not record.named:
            return  # told already, and it may be this one that was meant
        if kind in self.data and not record.named:
            self.add_single(kind, backend.data, backend.origin)
        elif not record.named:
            hint = f"write -device {next(iter(record.later_drivers))},{record.reference}={name}"
            self.problems.append((f"{backend.origin}: no -device refers to it", hint))
        else:
            idle = {"attach": False} if "attach" in record.fields else {}
            self.add(kind, name, {**backend.data, **idle}, backend.origin)

    def origin_of(self, path: Path) -> str:
        """Return the flag that said what stands at `path`, or around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return ""

    def frontend_of(self, path: Path) -> str:
        """Return the -device that attached the table at `path`, else the flag that said it."""
        return self.frontends.get(path) or self.origin_of(path)


def field_at(to: str) -> Field:
    """Return the field of the document at a place like `cpu.count`."""
    table, _, key = to.rpartition(".")
    if not table:
        return Vm.fields[key]
    record = Vm.fields[table].record
    assert record is not None
    return record.fields[key]


def fields_on(record: type[Device], on: str) -> list[Field]:
    """Return the fields that are keys of -device (`on` is "device") or of the record's own flag ("")."""
    return [field for field in record.fields.values() if field.on == on]


def fields_taken(record: type[Device], on: str) -> list[Field]:
    """Return the fields that are read from a flag: its own, and those of the other one that it takes too."""
    return [field for field in record.fields.values() if on in {field.on, field.also_on}]


def drivers() -> dict[str, tuple[str, type[Device]]]:
    """Return table and record by the name of the driver."""
    return {
        driver: (kind, record)
        for kind, record in devices.tables().items()
        for driver in (*record.drivers, *record.later_drivers)
    }


def idle_drivers() -> dict[str, tuple[str, ...]]:
    """Return the keys of each driver that says nothing, by its name."""
    records = devices.tables().values()
    return {driver: keys for record in records for driver, keys in record.idle_drivers.items()}


def objects() -> dict[str, tuple[str, type[Device]]]:
    """Return table and record by the type of -object."""
    return {word: (kind, record) for kind, record in devices.tables().items() for word in record.objects}


def backend_words(record: type[Device]) -> str:
    """Return how what a -device of the record refers to begins: a flag, and its type when it is an object."""
    if record.lender:
        return devices.tables()[record.lender].option
    return f"object {next(iter(record.objects))}" if record.objects else record.option


def transport_of(record: type[Device], driver: str) -> str:
    """Return where a driver's device sits: "mmio", "pci" or ""."""
    return record.drivers.get(driver) or record.later_drivers.get(driver, "")
