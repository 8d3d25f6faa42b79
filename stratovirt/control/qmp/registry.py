"""Commands, described once: from @command follow the checks of arguments, query-commands and compat/qmp.json.

    class Balloon(Record):
        value: int = integer("Memory that the guest shall have, in bytes", minimum=0)

    @command("balloon", Balloon)
    def balloon(target: Target, arguments: Balloon) -> object:
        \"\"\"Set how much memory the guest has.\"\"\"

The first line of the function's docstring is the command's documentation. What it returns has to be JSON.
"""

from __future__ import annotations

from stratovirt.control.qmp.descriptors import Descriptors
from stratovirt.control.qmp.shelf import Shelf
from stratovirt.errors import QmpError
from stratovirt.load import load
from stratovirt.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from stratovirt.control.machine_protocol import ServedMachine
    from stratovirt.control.qmp.events import Event
    from stratovirt.load import Problems

    A = TypeVar("A", bound=Record)
    Handler = Callable[["Target", A], object]


class Target:
    """What a command can work on: the machine, its clients, and the end of the process."""

    __slots__ = ("descriptors", "emit", "end", "machine", "shelf")

    def __init__(
        self, machine: ServedMachine, emit: Callable[[Event], None], end: Callable[[Event], None]
    ) -> None:
        self.machine = machine
        self.descriptors = Descriptors({})
        self.shelf = Shelf()
        self.emit = emit
        self.end = end  # after the reply; the event says why

    def name_in(self, table: str, slot: str) -> str:
        """Return what clients call the device in a slot: an id of device_add, or the slot's own."""
        slots = self.machine.slots(table)
        there = slots.get(slot)
        if there is None or there.info() is not None:
            return self.shelf.name_in(there) or slot
        return f"slot {list(slots).index(slot)}"  # its own name may be another one's by now

    def for_client(self) -> Target:
        """Return what one client's commands work on: its descriptors without a name are nobody else's."""
        own = Target(self.machine, self.emit, self.end)
        own.descriptors = self.descriptors.for_client()
        own.shelf = self.shelf
        return own


class Command:
    """One command of the protocol."""

    __slots__ = ("_handler", "arguments", "doc", "name")

    def __init__(self, name: str, arguments: type[Record], handler: Handler[Any]) -> None:
        self.name = name
        self.arguments = arguments
        self.doc = (handler.__doc__ or "").partition("\n")[0]
        self._handler = handler

    def execute(self, target: Target, arguments: dict[str, object]) -> object:
        """Check the arguments and do it; return what the client gets."""
        return self._handler(target, self._checked(arguments))

    def _checked(self, data: dict[str, object]) -> Record:
        fields = self.arguments.fields
        known = {field.key: name for name, field in fields.items()}
        for key in data:
            if key not in known:
                takes = f"it takes {', '.join(known)}" if known else "it takes none"
                raise QmpError(f"{self.name} has no argument '{shortened(key)}'; {takes}")
        for field in fields.values():
            if field.required and field.key not in data:
                raise QmpError(f"{self.name} needs the argument '{field.key}': {field.doc.lower()}")
        problems: Problems = []
        record = load(self.arguments, _by_name(self.arguments, data), problems)
        if problems or record is None:
            raise QmpError(f"{self.name}: {'; '.join(problem.message for problem in problems)}")
        return record


def _by_name(record: type[Record], data: dict[str, Any]) -> dict[str, object]:
    """Return data with the names of the fields in place of their keys, in nested objects too."""
    renamed: dict[str, object] = {}
    fields = {field.key: field for field in record.fields.values()}
    for key, value in data.items():
        field = fields.get(key)
        if field is None:
            renamed[key] = value
        elif field.record is not None and field.kind == "table" and isinstance(value, dict):
            renamed[field.name] = _by_name(field.record, value)
        else:
            renamed[field.name] = value
    return renamed


class Nothing(Record):
    """The arguments of a command that takes none."""


LONGEST_REPEATED = 64  # characters

COMMANDS: dict[str, Command] = {}


def command(name: str, arguments: type[A]) -> Callable[[Handler[A]], Handler[A]]:
    """Declare the function that executes a command."""

    def declare(handler: Handler[A]) -> Handler[A]:
        COMMANDS[name] = Command(name, arguments, handler)
        return handler

    return declare


def execute(name: str, target: Target, arguments: dict[str, object]) -> object:
    """Execute a command by name."""
    found = COMMANDS.get(name)
    if found is None:
        raise QmpError(_why_not(name), "CommandNotFound")
    return found.execute(target, arguments)


def _why_not(name: str) -> str:
    from stratovirt.control.qmp import absent

    reason = absent.table().get(name)
    text = f"The command {shortened(name)} has not been found"
    return text if reason is None else f"{text}: {reason[1]}"


def shortened(word: str) -> str:
    """Return what a client wrote in a length that can be repeated to it."""
    return word if len(word) <= LONGEST_REPEATED else f"{word[:LONGEST_REPEATED]}..."
